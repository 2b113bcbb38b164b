"""The course of a roll-out as a document: what each arm did, and what spoke against the candidate."""

from __future__ import annotations

import itertools
from typing import Literal, Self

from pydantic import Field, model_validator

from stepworks.report.document import Fragment, StoredDocument


class LatencyHistogram(Fragment):
    """How many answers took how long.

    Attributes:
        bounds_ms: The buckets' upper bounds in milliseconds, rising. Above the last there is one bucket more.
        counts: The answers of each bucket, those up to lower bounds not counted again.
    """

    bounds_ms: tuple[float, ...]
    counts: tuple[int, ...]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if len(self.counts) != len(self.bounds_ms) + 1:
            raise ValueError(f"{len(self.bounds_ms)} bounds and {len(self.counts)} counts, one more is needed")
        if any(low >= high for low, high in itertools.pairwise(self.bounds_ms)):
            raise ValueError("the bounds must rise")
        return self

    @property
    def total(self) -> int:
        """All answers."""
        return sum(self.counts)

    def slower_than(self, bound_ms: float) -> int:
        """How many answers took longer than one of the bounds."""
        return sum(self.counts[self.bounds_ms.index(bound_ms) + 1 :])

    def bound_of(self, share: float) -> float | None:
        """The lowest bound that at least this share of the answers kept to; None where none of them is enough."""
        kept = 0
        for bound, count in zip(self.bounds_ms, self.counts, strict=False):
            kept += count
            if kept and kept >= share * self.total:
                return bound
        return None

    def quantile(self, share: float) -> float | None:
        """The time in milliseconds that this share of the answers kept to, as a straight line through its bucket.

        None where there are no answers; the highest bound where they took longer than that.
        """
        wanted, kept, low = share * self.total, 0, 0.0
        for bound, count in zip(self.bounds_ms, self.counts, strict=False):
            if count and kept + count >= wanted:
                return low + (bound - low) * (wanted - kept) / count
            kept, low = kept + count, bound
        return self.bounds_ms[-1] if self.total and self.bounds_ms else None


class CanaryArm(Fragment):
    """What one arm answered within some time.

    Attributes:
        requests: All requests that it was to answer, probes among them.
        errors: Those answered with 500 and above, or not at all.
        wrong_answers: Answers to probes that were not the right ones; an error is none.
        probes: Requests of which the right answer is known.
        latency_p50_ms: The median time to its answer, in milliseconds.
        latency_p95_ms: The 95th percentile of the same.
        latency: All times; missing in a stored document.
    """

    requests: int = Field(ge=0)
    errors: int = Field(ge=0)
    wrong_answers: int = Field(ge=0)
    probes: int = Field(default=0, ge=0)
    latency_p50_ms: float | None = None
    latency_p95_ms: float | None = None
    latency: LatencyHistogram | None = None


MetricName = Literal["errors", "latency", "answers"]


class CanaryEvidence(Fragment):
    """What one metric said after a window.

    Attributes:
        metric: Which one.
        candidate: The candidate's requests in this window.
        candidate_bad: How many of them were bad: failed, slow, or wrong.
        stable: The stable version's requests.
        stable_bad: How many of those were bad.
        evidence: What has been gathered against the candidate so far: how many times as well a worse version
            explains it as chance does. At most 1 on average if the candidate is no worse.
        needed: With so much the candidate is rolled back.
    """

    metric: MetricName
    candidate: int
    candidate_bad: int
    stable: int
    stable_bad: int
    evidence: float
    needed: float


class CanaryWindow(Fragment):
    """One look at both arms. `note` says why it was not judged, or not by all metrics."""

    seconds: float
    evidence: list[CanaryEvidence] = Field(default_factory=list)
    note: str = ""


CanaryDecision = Literal["continue", "promote", "roll_back", "insufficient_data", "stale", "refused", "not_approved"]


class CanaryStage(Fragment):
    """One stage of a roll-out: the traffic share of the candidate, what both arms did, what was decided."""

    percent: int
    stable: CanaryArm | None
    candidate: CanaryArm
    decision: CanaryDecision
    reason: str
    seconds: float
    windows: list[CanaryWindow] = Field(default_factory=list)


class CanaryDocument(StoredDocument):
    """The course of a roll-out (`serving/roll_out_canary`), or of a rehearsed one (`rehearsal`).

    `forecast` is what was said before it began of whether it can end; empty where the traffic was not known.
    """

    kind: Literal["canary"] = "canary"
    service: str
    stable_version: str | None
    candidate_version: str
    rehearsal: bool = False
    forecast: list[str] = Field(default_factory=list)
    stages: list[CanaryStage]
    outcome: Literal["promoted", "rolled_back", "held"]
    reason: str
