"""How a roll-out proceeds."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator


class RolloutPolicy(BaseModel):
    """The stages of a roll-out, and how much is asked in each.

    Attributes:
        stages: The candidate's share of the traffic in percent, stage by stage; rising, and 100 at last.
        candidate_requests: How many requests the candidate answers in a stage before it is judged.
        stage_seconds: After this time a stage is judged on what there is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    stages: tuple[Annotated[int, Field(ge=1, le=100)], ...] = (5, 25, 50, 100)
    candidate_requests: int = Field(default=20, ge=1)
    stage_seconds: float = Field(default=60.0, gt=0)

    @field_validator("stages")
    @classmethod
    def _rising_to_all(cls, stages: tuple[int, ...]) -> tuple[int, ...]:
        if not stages or stages[-1] != 100 or list(stages) != sorted(set(stages)):
            raise ValueError(f"the stages must rise and end at 100, received {stages}")
        return stages

    def request_limit(self, percent: int) -> int:
        """How many requests a stage sends at most: twice what the candidate's share needs."""
        return 2 * self.candidate_requests * 100 // percent + 10
