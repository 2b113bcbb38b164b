"""What is judged: windows, each the difference of two looks at counts that only grow."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from stepworks.report.canary_document import CanaryArm, LatencyHistogram

NOTHING = CanaryArm(requests=0, errors=0, wrong_answers=0)


@dataclass(frozen=True)
class Window:
    """What both arms did between two looks.

    Attributes:
        percent: The candidate's share of the traffic that was asked for; it tells the stages apart.
        seconds: How long it took.
        stable: What the stable version did; missing when there is none.
        candidate: What the candidate did.
        warm_up: Whether it only warms up the candidate: nothing of it is held against anyone.
        problem: Why the requests could not be counted; empty when they were. There are only probes then.
        counted: Whether it has all requests of both versions, which keep to their shares, or only probes.
    """

    percent: int
    seconds: float
    stable: CanaryArm | None
    candidate: CanaryArm
    warm_up: bool = False
    problem: str = ""
    counted: bool = True

    @property
    def is_stale(self) -> bool:
        """Whether the window has no new counts of either arm."""
        return bool(self.problem) or not (self.candidate.requests or (self.stable and self.stable.requests))


def since(later: CanaryArm, earlier: CanaryArm) -> CanaryArm:
    """What an arm did between two looks at its counts.

    Counts that are lower than before were started anew, as those of a restarted server are; they are all new then.
    """
    if later.requests < earlier.requests or later.probes < earlier.probes:
        return later
    latency = later.latency
    if latency and earlier.latency and latency.bounds_ms == earlier.latency.bounds_ms:
        counts = zip(latency.counts, earlier.latency.counts, strict=True)
        latency = LatencyHistogram(bounds_ms=latency.bounds_ms, counts=[max(new - old, 0) for new, old in counts])
    return arm(
        requests=later.requests - earlier.requests,
        errors=max(later.errors - earlier.errors, 0),
        wrong_answers=max(later.wrong_answers - earlier.wrong_answers, 0),
        probes=later.probes - earlier.probes,
        latency=latency,
    )


def together(arms: Iterable[CanaryArm]) -> CanaryArm:
    """What an arm did in several windows. Times are kept of those that have the buckets of the last."""
    found = list(arms)
    latencies = [each.latency for each in found if each.latency is not None]
    alike = [each.counts for each in latencies if each.bounds_ms == latencies[-1].bounds_ms]
    return arm(
        requests=sum(each.requests for each in found),
        errors=sum(each.errors for each in found),
        wrong_answers=sum(each.wrong_answers for each in found),
        probes=sum(each.probes for each in found),
        latency=LatencyHistogram(
            bounds_ms=latencies[-1].bounds_ms, counts=[sum(bucket) for bucket in zip(*alike, strict=True)]
        )
        if latencies
        else None,
    )


def arm(
    *, requests: int, errors: int, wrong_answers: int = 0, probes: int = 0, latency: LatencyHistogram | None = None
) -> CanaryArm:
    """The counts of an arm, with the percentiles of its times."""
    return CanaryArm(
        requests=requests,
        errors=errors,
        wrong_answers=wrong_answers,
        probes=probes,
        latency_p50_ms=latency.quantile(0.5) if latency else None,
        latency_p95_ms=latency.quantile(0.95) if latency else None,
        latency=latency,
    )
