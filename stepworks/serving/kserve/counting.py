"""What both versions did since the share of the traffic was last set, by a Prometheus server."""

from __future__ import annotations

from stepworks.errors import ServingError
from stepworks.kube.api.cluster import Cluster
from stepworks.report.canary_document import CanaryArm
from stepworks.serving.judging.counts import NOTHING, since
from stepworks.serving.rollout.backend import Traffic
from stepworks.serving.rollout.prometheus import PrometheusSource


class ArmCounts:
    """Counts the requests of both versions from a moment on.

    Args:
        cluster: Where they are.
        source: Counts them; None where nothing does.
        stable: By what name the source knows the stable version; None when there is none.
        candidate: By what name it knows the candidate.
    """

    def __init__(self, cluster: Cluster, source: PrometheusSource | None, stable: str | None, candidate: str) -> None:
        self._cluster = cluster
        self._source = source
        self._stable = stable
        self._candidate = candidate
        self._before: tuple[CanaryArm | None, CanaryArm] | None = None

    def begin(self, percent: int) -> None:
        """Start new counts, once the source no longer tells of the time before; at 0 % there is nothing to count."""
        self._before = None
        if self._source is not None and percent:
            self._cluster.clock.sleep(self._source.delay_seconds)
            self.observe()

    def observe(self) -> Traffic:
        """What both did since the counts began."""
        nothing = None if self._stable is None else NOTHING
        if self._source is None:
            return Traffic(nothing, NOTHING, counted=False)
        try:
            stable = None if self._stable is None else self._count(self._source, self._stable)
            candidate = self._count(self._source, self._candidate)
        except ServingError as error:
            return Traffic(nothing, NOTHING, problem=str(error))
        if self._before is None:
            self._before = (stable, candidate)
        before_stable, before_candidate = self._before
        if _fell(stable, before_stable) or _fell(candidate, before_candidate):
            self._before = None  # counting begins anew: of what is there now nobody knows when it happened
            told = "The counts of a version fell, as when a pod of it ends or a scrape fails."
            return Traffic(nothing, NOTHING, problem=told)
        return Traffic(
            None if stable is None else since(stable, before_stable or NOTHING), since(candidate, before_candidate)
        )

    def _count(self, source: PrometheusSource, name: str) -> CanaryArm:
        return source.count(name, self._cluster.namespace)


def _fell(now: CanaryArm | None, before: CanaryArm | None) -> bool:
    return now is not None and before is not None and now.requests < before.requests
