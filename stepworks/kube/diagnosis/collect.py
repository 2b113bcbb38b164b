"""Collecting the facts of a diagnosis from the cluster, in bounded time and whatever may not be read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import TypeVar

from stepworks.errors import AccessDeniedError, StepworksError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.discovery import is_served
from stepworks.kube.api.objects import find, list_objects
from stepworks.kube.api.pods import read_log
from stepworks.kube.api.references import Reference, Selection
from stepworks.kube.diagnosis.chain import made_by, without_replaced
from stepworks.kube.diagnosis.facts import EventFacts, Facts, PodFacts
from stepworks.kube.diagnosis.read import hide, merge_events, read_event, read_object, read_pod, says_failed
from stepworks.kube.kinds.manifests import Manifest

T = TypeVar("T")
PATIENCE_SECONDS = 10.0
"""How long a diagnosis tries again, all requests together, while the API server fails."""
_LOG_SECONDS = 2.0
"""How long for a log: a node that does not hand it out now will not do so in a minute."""
_LOG_LINES = 30
_LONGEST_LINE = 500
_MOST_PODS_WITH_EVENTS = 4


class Collector:
    """Reads what a diagnosis is made of; what cannot be read is noted and is no error.

    Args:
        cluster: Where.
        reference: The object.
        patience: How long to try again, in seconds, while the API server fails.
    """

    def __init__(self, cluster: Cluster, reference: Reference, patience: float = PATIENCE_SECONDS) -> None:
        self._cluster = replace(cluster, give_up_at=cluster.clock.now() + patience)
        self._reference = replace(reference, namespace=reference.namespace or cluster.namespace)
        self._unreadable: list[str] = []

    def collect(self, manifest: Manifest | None = None) -> Facts:
        """Read everything but logs.

        Args:
            manifest: The object as it was last seen; by default it is read.
        """
        if manifest is None:
            manifest = self._read(f"the {self._reference}", lambda: find(self._cluster, self._reference))
        if manifest is None:
            return Facts(self._reference, unreadable=tuple(self._unreadable))
        made = without_replaced(each for selection in made_by(manifest) for each in self._list(selection))
        pods = [each for each in made if each["kind"] == "Pod"]
        chain = [manifest, *(each for each in made if each["kind"] != "Pod")]
        if manifest["kind"] == "Pod":
            chain = []
        read = sorted(self._parse(read_pod, pods), key=lambda pod: pod.created)
        objects = self._parse(read_object, chain)
        facts = Facts(self._reference, failed=says_failed(manifest), chain=tuple(objects), pods=tuple(read))
        telling = self._worth_events(facts)
        events = [
            event
            for each in [*chain, *(pod for pod in pods if pod["metadata"]["name"] in telling)]
            for event in self._events(f"involvedObject.uid={each['metadata']['uid']}")
        ]
        events += self._preemptions()
        return replace(facts, events=merge_events(events), unreadable=tuple(dict.fromkeys(self._unreadable)))

    def add_log(self, facts: Facts) -> Facts:
        """Read the last lines of the log of the pod that failed first, or else of one that runs and does not serve."""
        running = sorted((pod for pod in facts.pods if pod.phase == "Running"), key=lambda pod: not pod.unready)
        pod = facts.first_failed or next(iter(running), None)
        container = _container_with_log(pod) if pod else None
        if pod is None or container is None:
            return facts
        now = self._cluster.clock.now()
        self._cluster = replace(self._cluster, give_up_at=min(self._cluster.give_up_at, now + _LOG_SECONDS))
        ask = partial(read_log, self._cluster, pod.name, tail_lines=_LOG_LINES, namespace=self._reference.namespace)
        name, previous = container
        log = self._read(f"the log of the pod {pod.name}", partial(ask, container=name, previous=previous)) or ""
        lines = [line[:_LONGEST_LINE] for line in hide(log, pod.hidden).splitlines()]
        named = f"the pod {pod.name}, container {name}"
        shown = "\n".join(lines).rstrip()
        return replace(facts, log=shown, log_of=named, unreadable=tuple(dict.fromkeys(self._unreadable)))

    def _list(self, selection: Selection) -> list[Manifest]:
        def served() -> list[Manifest]:
            known = is_served(self._cluster, selection.api_version, selection.kind)
            return list_objects(self._cluster, selection) if known else []

        return self._read(f"objects of the kind {selection.kind}", served) or []

    def _events(self, fields: str) -> list[EventFacts]:
        selection = Selection("v1", "Event", fields=fields, namespace=self._reference.namespace)
        return self._parse(read_event, self._list(selection))

    def _preemptions(self) -> list[EventFacts]:
        """The preemption of pods that are gone since; nothing but their names says whose they were."""
        mine = f"Pod {self._reference.name}-"
        return [each for each in self._events("reason=Preempted") if each.about.startswith(mine)]

    def _worth_events(self, facts: Facts) -> set[str]:
        """The pods whose events are read: the one that failed first, and some that have not begun or do not serve."""
        first = facts.first_failed
        chosen = [*([first] if first else []), *facts.stuck, *(pod for pod in facts.pods if pod.unready)]
        return {pod.name for pod in chosen[:_MOST_PODS_WITH_EVENTS]}

    def _read(self, what: str, read: Callable[[], T]) -> T | None:
        """Read something, or note why it cannot be read; of a server that does not answer, nothing more is asked."""
        if self._cluster.clock.now() >= self._cluster.give_up_at:
            return None
        try:
            return read()
        except AccessDeniedError as error:
            self._unreadable.append(f"{what}: the permission is missing. {error.what_to_do}")
        except StepworksError as error:
            self._unreadable.append(f"{what}: {error.received}")
        return None

    def _parse(self, parse: Callable[[Manifest], T], manifests: Iterable[Manifest]) -> list[T]:
        """What manifests say; one of a form that is not expected keeps nothing else from being told."""
        parsed = []
        for each in manifests:
            try:
                parsed.append(parse(each))
            except Exception as error:  # noqa: BLE001  # whatever a missing or odd field leads to
                name = f"{each.get('kind')} {each['metadata']['name']}"
                self._unreadable.append(f"the {name}: {type(error).__name__}: {error}")
        return parsed


def _container_with_log(pod: PodFacts) -> tuple[str, bool] | None:
    """The container whose log tells the most, and whether it is that of before a restart."""
    failed = pod.failed_container
    if failed:
        return failed.name, failed.log_is_of_before
    running = [each for each in pod.containers if each.state in ("running", "terminated")]
    return (running[-1].name, False) if running else None
