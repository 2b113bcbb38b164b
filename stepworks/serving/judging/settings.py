"""What a judge of canaries allows, and how sure it has to be."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from stepworks.report.canary_document import MetricName


class MetricRule(BaseModel):
    """How one metric is judged. A request is either bad or not: it failed, or took too long, or was answered wrongly.

    Attributes:
        tolerance: How many times the stable version's share of bad requests the candidate may have without being
            rolled back, however sure that it is worse.
        margin: The promise of a promotion: the candidate's share of bad requests is not higher by this or more.
        ceiling: The share that is too much where there is nothing to compare with: for a first version, and in the
            stage that gives the candidate all traffic.
        required: Whether a promotion waits until the margin is proven. A metric that is not required can only
            roll back.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tolerance: float = Field(default=1.0, ge=1)
    margin: float = Field(default=0.02, gt=0, lt=1)
    ceiling: float = Field(default=0.1, gt=0, lt=1)
    required: bool = True


class LatencyRule(MetricRule):
    """How latency is judged: an answer is slow that took longer than almost all of the stable version's before.

    Attributes:
        quantile: Which share of the stable version's answers in earlier windows were not slow.
        factor: How many times that time an answer may take.
        floor_ms: An answer within this many milliseconds is never slow.
        baseline_requests: With fewer earlier answers of the stable version, latency is not judged yet.
        limit_ms: What is slow for a first version, in milliseconds; without it, its latency is not judged.
    """

    tolerance: float = Field(default=1.25, ge=1)
    margin: float = Field(default=0.05, gt=0, lt=1)
    ceiling: float = Field(default=0.3, gt=0, lt=1)
    quantile: float = Field(default=0.9, gt=0, lt=1)
    factor: float = Field(default=1.0, ge=1)
    floor_ms: float = Field(default=0.0, ge=0)
    baseline_requests: int = Field(default=200, ge=1)
    limit_ms: float | None = Field(default=None, gt=0)


class JudgeSettings(BaseModel):
    """What a judge allows, and how sure it has to be.

    Attributes:
        alpha: At most this share of the roll-outs of versions that are no worse is rolled back by a comparison, however
            often and long they are looked at, and at most as many by a ceiling that they keep. It is shared evenly by
            the metrics.
        promotion_alpha: At most this share of the roll-outs of versions that are worse by a margin or more is
            promoted.
        window_weight: One window counts for at most this share of the evidence that a roll-back needs, so that one
            bad minute of one pod is never enough.
        dropped_windows: How many of the windows that speak most against the candidate are left out besides.
        doubt: With so much evidence against the candidate no stage is left before the margin is proven, though it is
            too little for a roll-back.
        minimum_requests: With fewer requests of the candidate that could be compared, nothing is promoted.
        share_tolerance: How far the share of the traffic that is seen may be from the one asked for, as a share of
            the smaller arm's, before nothing is judged.
        errors: Failed requests. None leaves them out, or false where there is no None, as among the parameters of a
            pipeline; so it does below.
        latency: Slow requests.
        answers: Wrong answers to probes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    alpha: float = Field(default=0.01, gt=0, le=0.5)
    promotion_alpha: float = Field(default=0.05, gt=0, le=0.5)
    window_weight: float = Field(default=1 / 3, gt=0, le=1)
    dropped_windows: int = Field(default=0, ge=0)
    doubt: float = Field(default=3.0, gt=1)
    minimum_requests: int = Field(default=200, ge=1)
    share_tolerance: float = Field(default=0.2, gt=0, lt=1)
    errors: MetricRule | None = MetricRule()
    latency: LatencyRule | None = LatencyRule()
    answers: MetricRule | None = MetricRule()

    @field_validator("errors", "latency", "answers", mode="before")
    @classmethod
    def _leave_out(cls, rule: Any) -> Any:
        return None if rule is False else rule

    @property
    def rules(self) -> dict[MetricName, MetricRule]:
        """The metrics that are judged."""
        rules: dict[MetricName, MetricRule | None] = {
            "errors": self.errors,
            "latency": self.latency,
            "answers": self.answers,
        }
        return {name: rule for name, rule in rules.items() if rule is not None}

    @property
    def metric_alpha(self) -> float:
        """The share of `alpha` that each metric has."""
        return self.alpha / max(len(self.rules), 1)
