"""How a roll-out proceeds."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from stepworks.serving.judging.settings import JudgeSettings, LatencyRule, MetricRule
from stepworks.serving.judging.verdict import Goal


class RolloutPolicy(BaseModel):
    """The stages of a roll-out, what each asks for, and what happens when it does not come about.

    Attributes:
        stages: The candidate's share of the traffic in percent, stage by stage; rising, and 100 at last.
        candidate_requests: How many requests the candidate answers in a stage at least.
        stage_seconds: How long a stage may take, not counting the time without new counts.
        on_deadline: What happens to a stage that is not decided by then. `hold` gives the stable version all traffic
            and leaves the candidate up, for a person to decide; `promote` goes on as if the stage had ended well.
        window_seconds: How long a window is.
        window_probes: A window ends when so many probes were sent, too. It makes the number of windows the same on a
            slow machine as on a fast one, where there is no traffic but probes.
        probe_seconds: The time between two probes; 0 sends the next when the last is answered.
        warm_up_windows: So many windows of the first stage are not held against the candidate, whose caches are cold.
        stale_seconds: For how long there may be no new counts.
        on_stale: What happens when there were none for longer.
        approvals: Before these shares a person has to say yes, in a cluster; the stages before go on meanwhile, and may
            roll back.
        approval_seconds: How long that may take. Then the stable version gets all traffic, and the candidate stays up.
        requests_per_second: The traffic that is expected, of both versions together; told beforehand is then whether it
            is enough for the stages. None where nothing is known of it.
        judge: What the judge allows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    stages: tuple[Annotated[int, Field(ge=1, le=100)], ...] = (5, 25, 50, 100)
    candidate_requests: int = Field(default=200, ge=1)
    stage_seconds: float = Field(default=3600.0, gt=0)
    on_deadline: Literal["hold", "roll_back", "promote"] = "hold"
    window_seconds: float = Field(default=60.0, gt=0)
    window_probes: int | None = Field(default=None, ge=1)
    probe_seconds: float = Field(default=1.0, ge=0)
    warm_up_windows: int = Field(default=1, ge=0)
    stale_seconds: float = Field(default=600.0, gt=0)
    on_stale: Literal["hold", "roll_back"] = "hold"
    approvals: tuple[int, ...] = ()
    approval_seconds: float = Field(default=86400.0, gt=0)
    requests_per_second: float | None = Field(default=None, gt=0)
    judge: JudgeSettings = JudgeSettings()

    @field_validator("stages")
    @classmethod
    def _rising_to_all(cls, stages: tuple[int, ...]) -> tuple[int, ...]:
        if not stages or stages[-1] != 100 or list(stages) != sorted(set(stages)):
            raise ValueError(f"the stages must rise and end at 100, received {stages}")
        return stages

    @model_validator(mode="after")
    def _approves_stages(self) -> Self:
        if other := sorted(set(self.approvals) - set(self.stages[1:])):
            raise ValueError(f"the approvals must be stages after the first, {self.stages[1:]}, received {other}")
        return self

    def goals(self, *, stable: bool) -> dict[int, Goal]:
        """What each stage asks for, by the candidate's share in percent.

        Only stages below 100 % compare the versions, so the last of these is the one that has to be conclusive. A first
        version, with no stable one beside it, has one stage.
        """
        stages = self.stages if stable else (100,)
        conclusive = max((stage for stage in stages if stage < 100), default=100)
        return {
            stage: Goal(
                candidate_requests=self.candidate_requests, conclusive=stage >= conclusive, last=stage == stages[-1]
            )
            for stage in stages
        }


LAPTOP = RolloutPolicy(
    stages=(10, 50, 100),
    candidate_requests=30,
    stage_seconds=60.0,
    window_seconds=5.0,
    window_probes=40,
    probe_seconds=0.0,
    warm_up_windows=0,
    judge=JudgeSettings(
        minimum_requests=50,
        errors=MetricRule(margin=0.1, ceiling=0.2),
        latency=LatencyRule(factor=3.0, floor_ms=200.0, baseline_requests=20, required=False),
        answers=MetricRule(margin=0.1, ceiling=0.2),
    ),
)
"""For a roll-out of a few hundred probes in a few seconds, with no other traffic.

It promises that a candidate that fails, or answers wrongly, 10 points more often than the stable version is promoted at
most once in 20 times, and that one that is no worse is rolled back at most once in 100. Of latency it notices what is
far off: answers that take more than 200 ms and more than three times those of the stable version.
"""
