"""A diagnosis as one page of plain text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator

from stepworks.kube.diagnosis.facts import ContainerFacts, EventFacts, Facts, PodFacts
from stepworks.kube.diagnosis.finding import Finding
from stepworks.kube.diagnosis.scheduling import parse_scheduler_message

WIDTH = 100
_INDENT = "  "
_MOST_PODS = 8
_MOST_EVENTS = 8
_LONGEST_LOG = 6000
_LONGEST_MESSAGE = 200


def render(facts: Facts, finding: Finding, problem: str) -> str:
    """Write the page: what happened, the object, its pods, the events, the log, and at the end what to do."""
    lines = [*_wrapped(problem, ""), ""]
    lines += _section("Object", _objects(facts))
    lines += _section(_counted(facts.pods), _pods(facts, finding))
    lines += _section("Events", map(_event, facts.events[-_MOST_EVENTS:]))
    if facts.log:
        lines += [f"Last lines of the log of {facts.log_of}:"]
        lines += [f"{_INDENT}| {line}" for line in facts.log[-_LONGEST_LOG:].splitlines()]
        lines += [""]
    if facts.unreadable:
        lines += ["Could not read:"]
        lines += [shown for each in facts.unreadable for line in each.splitlines() for shown in _wrapped(line, _INDENT)]
        lines += [""]
    again = "Another attempt would end the same way." if finding.permanent else "Another attempt may succeed."
    lines += [f"Cause: {finding.cause}. {again}", *_wrapped(f"What to do: {finding.what_to_do}", "")]
    return "\n".join(lines)


def event_lines(facts: Facts) -> tuple[str, ...]:
    """The last events, a line each."""
    return tuple(map(_event, facts.events[-_MOST_EVENTS:]))


def _section(title: str, entries: Iterable[str]) -> list[str]:
    lines = [line for each in entries for line in _wrapped(each, _INDENT)]
    return [f"{title}:", *lines, ""] if lines else []


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=indent, subsequent_indent=indent + _INDENT, break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip


def _objects(facts: Facts) -> Iterator[str]:
    said: set[str] = set()
    for each in facts.chain:
        lines = []
        for condition in each.conditions:
            head, separator, message = condition.partition(": ")
            lines.append(f"{head}{separator}{message[:_LONGEST_MESSAGE]}" if message not in said else head)
            said.add(message)
        if each is facts.chain[0] or lines:
            yield f"{each.kind} {each.name}: {'; '.join(lines) or 'no condition yet'}"


def _counted(pods: tuple[PodFacts, ...]) -> str:
    phases = [pod.phase or "Pending" for pod in pods]
    counts = ", ".join(f"{phases.count(phase)} {phase}" for phase in dict.fromkeys(phases))
    return f"Pods ({counts})"


def _pods(facts: Facts, finding: Finding) -> Iterator[str]:
    # The one that it is about first, then those that did not do well.
    ordered = sorted(facts.pods, key=lambda pod: (pod != finding.pod, not pod.ended_badly, pod.phase != "Pending"))
    for pod in ordered[:_MOST_PODS]:
        yield _pod(pod)
    if len(ordered) > _MOST_PODS:
        yield f"and {len(ordered) - _MOST_PODS} more"


def _pod(pod: PodFacts) -> str:
    rank = f" ({pod.rank})" if pod.rank else ""
    where = f" on the node {pod.node}" if pod.node else ""
    said = [_container(each) for each in pod.containers]
    said += [f"{pod.reason}: {pod.message}"] if pod.reason else []
    said += [f"{pod.disruption}: {pod.disruption_message}"] if pod.disruption and not pod.reason else []
    said += [f"{pod.waits_because}: {parse_scheduler_message(pod.scheduler)}"] if pod.waits_because else []
    told = "; ".join(each.strip().rstrip(":.") for each in said if each)
    return f"{pod.name}{rank}: {pod.phase or 'Pending'}{where}" + (f"; {told}" if told else "")


def _container(container: ContainerFacts) -> str:
    name = f"init container {container.name}" if container.init else container.name
    restarts = f", started again {container.restarts} times" if container.restarts else ""
    if container.state == "terminated":
        return f"{name} ended with exit code {container.exit_code} ({container.reason}){restarts}"
    reason = f" ({container.reason})" if container.reason else ""
    before = f", before that it ended with exit code {container.exit_code}" if container.exit_code is not None else ""
    return f"{name} is {container.state or 'not made yet'}{reason}{restarts}{before}"


def _event(event: EventFacts) -> str:
    time = event.last.partition("T")[2][:8]
    count = f" ({event.count} times)" if event.count > 1 else ""
    return f"{time} {event.about}: {event.reason}{count}: {event.message}"
