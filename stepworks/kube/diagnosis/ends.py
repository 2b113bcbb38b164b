"""The causes of a pod's end, told from the pod that failed first."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import replace

from stepworks.kube.diagnosis.facts import ContainerFacts, Facts, PodFacts
from stepworks.kube.diagnosis.finding import Cause, Finding
from stepworks.kube.kinds.table import kind_of

_AGAIN = "Start the step again"
_MORE_TIME = "Allow more time, or start the step again if it goes on where it stopped."
_DISRUPTIONS: Mapping[str, tuple[Cause, str, str]] = {
    "PreemptionByScheduler": (
        "preempted",
        "a pod of higher priority took its place",
        f"{_AGAIN}; if it happens often, give the placement a higher priority class.",
    ),
    "EvictionByEvictionAPI": (
        "drained",
        "it was evicted, as when a node is drained",
        f"{_AGAIN} when the maintenance of the node is over.",
    ),
    "DeletionByTaintManager": (
        "node-lost",
        "its node was tainted, as when it stops answering",
        f"{_AGAIN}; see with `kubectl describe node` what is wrong with the node.",
    ),
    "DeletionByPodGC": (
        "node-lost",
        "its node is gone",
        f"{_AGAIN}; it gets another node.",
    ),
    "TerminationByKubelet": (
        "evicted",
        "its node ran out of a resource, or was shut down",
        f"{_AGAIN}; request as much memory and ephemeral storage as it really uses, so that it is not the first to go.",
    ),
    "DeadlineExceeded": ("deadline-exceeded", "it ran longer than its activeDeadlineSeconds", _MORE_TIME),
}
_PHASE_REASONS: Mapping[str, str] = {
    "DeadlineExceeded": "DeadlineExceeded",
    "Evicted": "TerminationByKubelet",
    "Terminated": "TerminationByKubelet",
    "NodeShutdown": "TerminationByKubelet",
    "NodeLost": "DeletionByTaintManager",
    "Preempting": "PreemptionByScheduler",
}
_TRY_AGAIN_EXIT_CODE = 75
"""EX_TEMPFAIL: our training loop ends with it when it saved its work after a signal."""
_RESTARTS = 3
"""After so many a server does not come up by itself: what it waits for would be there by then."""
_STARTS = 2
"""A container may fail to start once for another reason, as a busy runtime."""
_CANNOT_START = ("StartError", "ContainerCannotRun")
_CANNOT_START_CODES = (126, 127, 128)
_STORAGE = "Correct the storage URI, or give the ServiceAccount the credentials for it; see the log of the container."
_CRASHES: Mapping[signal.Signals, str] = {
    signal.SIGBUS: "Give the placement more shared memory (`shared_memory`), if data loaders exchange batches there.",
    signal.SIGILL: "Use an image that is built for the processors of these nodes.",
}


def judge_crash_loop(facts: Facts) -> Finding | None:
    """Find a server whose container ends each time that it is started."""
    known = kind_of({"apiVersion": facts.reference.api_version, "kind": facts.reference.kind})
    if known is None or not known.serves:
        return None
    for pod in facts.pods:
        for container in pod.containers:
            if container.reason != "CrashLoopBackOff" or container.restarts < _RESTARTS:
                continue
            found = judge_end(replace(facts, pods=(pod,)))
            if found is None:
                continue
            problem = f"{found.problem}, each of the {container.restarts + 1} times that it was started"
            return replace(found, cause="crash-loop", problem=problem, permanent=False, tolerance="none")
    return None


def judge_missing_command(facts: Facts) -> Finding | None:
    """Find a command that could not be started a second time; its object would go on trying for many minutes."""
    tries = [
        (pod, container)
        for pod in facts.pods
        for container in pod.containers
        if container.ended_reason in _CANNOT_START
    ]
    if sum(container.restarts + 1 for _, container in tries) < _STARTS:
        return None
    return replace(_judge_container(*tries[0]), pod=tries[0][0], tolerance="none")


def judge_end(facts: Facts) -> Finding | None:
    """Find out why the pod that failed first did."""
    pod = facts.first_failed
    if pod is None:
        return None
    found = _judge_pod(pod)
    if found is None:
        return None
    if not found.what_to_do:
        named = found.container.name if found.container else ""
        where = "the last lines of its log above" if facts.log else facts.kubectl("logs", pod.name, "-c", named)
        found = replace(found, what_to_do=f"Correct the program or its arguments; see {where}.")
    return replace(found, pod=pod)


def judge_deadline(facts: Facts) -> Finding | None:
    """An object that took longer than its own deadline."""
    if not facts.failed or "DeadlineExceeded" not in facts.reasons:
        return None
    return Finding(
        "deadline-exceeded",
        "it did not end within its activeDeadlineSeconds, the time to wait for a node included",
        _MORE_TIME,
    )


def judge_policy(facts: Facts) -> Finding | None:
    """A pod's end that the podFailurePolicy of its Job takes for final."""
    if "PodFailurePolicy" not in facts.reasons:
        return None
    return Finding(
        "program-failed",
        f"its program ended in a way that its podFailurePolicy takes for final: {facts.ended}",
        "Read the log of the pod that the message names, and correct the program or its arguments.",
        permanent=True,
    )


def judge_model(facts: Facts) -> Finding | None:
    """A model that KServe cannot serve."""
    if not facts.ended.startswith("InvalidSpec"):
        return None
    return Finding(
        "spec-invalid",
        f"KServe cannot serve what it asks for ({facts.ended})",
        "Correct the model format, or name a runtime that is there: "
        f"{facts.kubectl('get', 'clusterservingruntimes,servingruntimes')}",
        permanent=True,
    )


def _judge_pod(pod: PodFacts) -> Finding | None:
    """Judge the end of a pod. What to do stays empty where only its log can tell."""
    reason = pod.disruption if pod.disruption in _DISRUPTIONS else _PHASE_REASONS.get(pod.reason, "")
    if reason:
        cause, problem, what_to_do = _DISRUPTIONS[reason]
        message = pod.disruption_message or pod.message
        return Finding(
            cause, f"{_named(pod)}: {problem}" + (f" ({message.rstrip('.')})" if message else ""), what_to_do
        )
    container = pod.failed_container
    if container:
        found = _judge_container(pod, container)
        return replace(found, container=container)
    if pod.disruption or pod.reason:
        told = ": ".join(each for each in (pod.disruption or pod.reason, pod.message.rstrip(".")) if each)
        return Finding(
            "pod-refused", f"{_named(pod)} was ended by its node: {told}", f"{_AGAIN}; it gets another node."
        )
    return None


def _judge_container(pod: PodFacts, container: ContainerFacts) -> Finding:
    what, code = _named(pod, container), container.exit_code or 0
    if container.ended_reason == "OOMKilled":
        return Finding(
            "out-of-memory",
            f"{what} used more memory than its limit and was killed",
            "Raise the memory limit of the placement, or let the program use less: smaller batches, fewer workers.",
            permanent=True,
        )
    if container.ended_reason in _CANNOT_START or code in _CANNOT_START_CODES:
        told = f": {container.ended_message}" if container.ended_message else ""
        return Finding(
            "command-missing",
            f"the command of {what} could not be started (exit code {code}){told}",
            "Correct the command, or use an image that has it: 127 and 128 mean not found, 126 not executable.",
            permanent=True,
        )
    if code == _TRY_AGAIN_EXIT_CODE:
        return Finding("interrupted", f"{what} was interrupted and asks to be started again", f"{_AGAIN}; it goes on.")
    if container.init:
        return Finding(
            "init-failed",
            f"{what} ended with exit code {code}",
            _STORAGE if container.name == "storage-initializer" else "",
            permanent=True,
        )
    return _judge_signal(what, code) or Finding(
        "program-failed", f"{what} ended with exit code {code}", "", permanent=True
    )


def _judge_signal(what: str, code: int) -> Finding | None:
    try:
        number = signal.Signals(code - 128)
    except ValueError:
        return None
    if number == signal.SIGKILL:
        return Finding(
            "killed",
            f"{what} was killed (exit code 137), and not for its own memory limit",
            f"{_AGAIN}. If it is killed again, a child process of it may use too much memory: raise the memory limit.",
        )
    if number in (signal.SIGTERM, signal.SIGINT):
        return Finding(
            "terminated",
            f"{what} was told to end ({number.name}, exit code {code})",
            f"{_AGAIN}, unless somebody ended it on purpose: the events say who deleted its pod.",
        )
    return Finding(
        "program-failed",
        f"{what} crashed with {number.name} (exit code {code})",
        _CRASHES.get(number, ""),
        permanent=True,
    )


def _named(pod: PodFacts, container: ContainerFacts | None = None) -> str:
    rank = f" ({pod.rank})" if pod.rank else ""
    if container is None:
        return f"the pod {pod.name}{rank}"
    return f"the {'init ' if container.init else ''}container {container.name} of the pod {pod.name}{rank}"
