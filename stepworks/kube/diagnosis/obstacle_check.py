"""Ending a wait early for what will not come about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from stepworks.errors import WorkloadFailedError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.references import Reference
from stepworks.kube.diagnosis.causes import judge_obstacles
from stepworks.kube.diagnosis.collect import Collector
from stepworks.kube.diagnosis.diagnose import diagnose
from stepworks.kube.diagnosis.facts import Facts
from stepworks.kube.diagnosis.finding import Tolerance
from stepworks.kube.kinds.judgement import Pending
from stepworks.kube.kinds.manifests import Manifest
from stepworks.kube.kinds.table import kind_of

GRACE_SECONDS = 120.0
"""How long an image or a Secret may be missing: another step may be just making it."""
_PATIENCE_SECONDS = 2.0


class ObstacleCheck:
    """The hook of a wait that raises as soon as an obstacle has lasted too long, and tells of progress until then.

    An object that its controller may not make pods for is given up at once, one with a missing image or Secret after
    two minutes, and one whose pods find no node, quota or volume after the time that it may wait for room. Where the
    pods do not need each other, as those of a Job, missing room is no obstacle while one of them runs.

    Args:
        cluster: Where.
        reference: The object.
        scheduling_timeout: How long the object may wait for room in the cluster, in seconds.
        say: Is told what the pods do, when that changes.
        setting: What a reader raises so that it may wait longer for room, as a step calls it; empty where nothing is.

    Raises:
        WorkloadFailedError: From a call: there is no tolerance.
    """

    def __init__(
        self,
        cluster: Cluster,
        reference: Reference,
        scheduling_timeout: float,
        say: Callable[[str], None],
        setting: str = "",
    ) -> None:
        self._cluster = cluster
        self._reference = reference
        self._limits: dict[Tolerance, float] = {"none": 0.0, "soon": GRACE_SECONDS, "room": scheduling_timeout}
        self._say = say
        self._setting = setting
        self._said = ""
        self._since: dict[str, float] = {}

    def __call__(self, manifest: Manifest, _pending: Pending) -> None:
        """Look at the pods."""
        facts = Collector(self._cluster, self._reference, _PATIENCE_SECONDS).collect(manifest)
        found = judge_obstacles(facts)
        told = found.problem if found else _pods_in_words(facts)
        if told and told != self._said:
            self._said = told
            self._say(f"The {self._reference}: {told}.")
        if found is None or (found.tolerance == "room" and _gets_on(manifest, facts)):
            self._since.clear()
            return
        now = self._cluster.clock.now()
        # Each cause has its own time; one that goes away gets it anew.
        self._since = {found.cause: self._since.get(found.cause, now)}
        limit = self._limits.get(found.tolerance)
        if limit is not None and now - self._since[found.cause] >= limit:
            raise self._given_up(manifest, found.tolerance, limit)

    def _given_up(self, manifest: Manifest, tolerance: Tolerance, seconds: float) -> WorkloadFailedError:
        """The error that says why, and of missing room how long it was waited for."""
        if tolerance != "room":
            lead = f"The {self._reference} cannot go on"
            return diagnose(self._cluster, self._reference, manifest=manifest, lead=lead).error()
        lead = f"The {self._reference} has waited {seconds:,g} s for room"
        diagnosis = diagnose(self._cluster, self._reference, manifest=manifest, lead=lead)
        if self._setting:
            longer = f"If room comes later, as from nodes that are added on demand, raise {self._setting}."
            finding = replace(diagnosis.finding, what_to_do=f"{diagnosis.finding.what_to_do} {longer}".strip())
            diagnosis = replace(diagnosis, finding=finding)
        return diagnosis.error()


def _gets_on(manifest: Manifest, facts: Facts) -> bool:
    """Whether a pod runs that does not need the others; it makes room when it ends."""
    known = kind_of(manifest)
    return known is not None and known.pods_take_turns and any(pod.phase == "Running" for pod in facts.pods)


def _pods_in_words(facts: Facts) -> str:
    phases = [(pod.phase or "Pending").lower() for pod in facts.pods]
    if len(phases) == 1:
        return f"its pod is {phases[0]}"
    counts = [f"{phases.count(phase)} {phase}" for phase in dict.fromkeys(phases)]
    return f"of its {len(phases)} pods {', '.join(counts)}" if phases else ""
