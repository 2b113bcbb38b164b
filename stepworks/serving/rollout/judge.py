"""Whether a candidate may go on. The rule here is simple on purpose; anything with a `judge` method replaces it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from stepworks.report.documents import CanaryArm


@dataclass(frozen=True)
class Decision:
    """What a judge says about a stage, and why."""

    decision: Literal["continue", "roll_back", "insufficient_data"]
    reason: str


class Judge(Protocol):
    """Compares what both arms did in one stage."""

    def judge(self, stable: CanaryArm | None, candidate: CanaryArm) -> Decision:
        """Judge a stage.

        Args:
            stable: What the stable version did; missing when there is none, or when it got no traffic.
            candidate: What the candidate did.
        """
        ...


@dataclass(frozen=True)
class ThresholdJudge:
    """Rolls back a candidate that fails, or is slow, clearly more than the stable version.

    Attributes:
        minimum_requests: With fewer answers of the candidate, nothing is decided.
        failure_margin: How much larger the candidate's share of failed requests (errors and wrong answers) may
            be than the stable version's.
        latency_ratio: How many times the stable version's 95th percentile the candidate's may be.
        latency_slack_ms: A candidate within this many milliseconds of the stable version is never too slow: on
            fast models the ratio alone would judge noise.
    """

    minimum_requests: int = 20
    failure_margin: float = 0.05
    latency_ratio: float = 3.0
    latency_slack_ms: float = 200.0

    def judge(self, stable: CanaryArm | None, candidate: CanaryArm) -> Decision:
        """Judge a stage; see `Judge.judge`."""
        if candidate.requests < self.minimum_requests:
            return Decision(
                "insufficient_data",
                f"The candidate answered {candidate.requests} requests, {self.minimum_requests} are needed.",
            )
        allowed = self.failure_margin + (_failure_share(stable) if stable else 0.0)
        if _failure_share(candidate) > allowed:
            return Decision(
                "roll_back",
                f"The candidate failed in {_failure_share(candidate):.1%} of {candidate.requests} requests "
                f"({candidate.errors} errors, {candidate.wrong_answers} wrong answers); {allowed:.1%} is allowed.",
            )
        if stable and stable.latency_p95_ms is not None and candidate.latency_p95_ms is not None:
            limit = max(self.latency_ratio * stable.latency_p95_ms, stable.latency_p95_ms + self.latency_slack_ms)
            if candidate.latency_p95_ms > limit:
                return Decision(
                    "roll_back",
                    f"The candidate's 95th percentile latency is {candidate.latency_p95_ms:.0f} ms; the stable "
                    f"version's is {stable.latency_p95_ms:.0f} ms, which allows {limit:.0f} ms.",
                )
        return Decision(
            "continue",
            f"The candidate failed in {_failure_share(candidate):.1%} of {candidate.requests} requests; "
            f"{allowed:.1%} is allowed.",
        )


def _failure_share(arm: CanaryArm) -> float:
    return (arm.errors + arm.wrong_answers) / arm.requests if arm.requests else 0.0
