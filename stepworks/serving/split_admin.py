"""What a traffic split is told, and what it tells: its settings and its counts."""

from __future__ import annotations

import bisect
from typing import Literal

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stepworks.errors import ServingError
from stepworks.report.canary_document import LatencyHistogram

ARM_HEADER = "x-stepworks-arm"
ADMIN_PATH = "/-/split"
METRICS_PATH = "/metrics"

_STEPS = (1.0, 1.25, 1.6, 2.0, 2.5, 3.15, 4.0, 5.0, 6.3, 8.0)
LATENCY_BOUNDS_MS = (*(step * decade for decade in (1, 10, 100, 1000) for step in _STEPS), 1e4, 2e4, 3e4)
"""The upper bounds of the buckets of times, in milliseconds: ten a decade, a quarter apart, so that a candidate that is
a third slower has its answers in others. The preferred numbers R10 of ISO 3."""

_TIMEOUT_SECONDS = 10.0

ArmName = Literal["stable", "candidate"]


class SplitSettings(BaseModel):
    """Where traffic goes.

    Attributes:
        stable: The address of the stable server; missing when nothing served before.
        candidate: The address of the candidate; missing when there is none.
        percent: The candidate's share of the inference requests.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    stable: str | None = None
    candidate: str | None = None
    percent: float = Field(default=0, ge=0, le=100)


class ArmCounts(BaseModel):
    """What one arm did since the last `PUT`.

    Attributes:
        requests: Inference requests that it was to answer.
        errors: Those it answered with 500 and above, or not at all.
        latency: The times to its answers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    requests: int
    errors: int
    latency: LatencyHistogram


class SplitState(BaseModel):
    """The settings, and what both arms did under them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    settings: SplitSettings
    arms: dict[ArmName, ArmCounts]


def no_latencies() -> list[int]:
    """The counts of no answers, one a bucket."""
    return [0] * (len(LATENCY_BOUNDS_MS) + 1)


def latency_bucket(milliseconds: float) -> int:
    """The bucket of a time, by its place."""
    return bisect.bisect_left(LATENCY_BOUNDS_MS, milliseconds)


def read_split(url: str) -> SplitState:
    """Ask a split for its settings and counts.

    Args:
        url: The split's address, without a path.

    Raises:
        ServingError: The split does not answer.
    """
    return _exchange("GET", url)


def change_split(url: str, settings: SplitSettings) -> SplitState:
    """Replace a split's settings at once, and start new counts.

    Raises:
        ServingError: The split does not answer.
    """
    return _exchange("PUT", url, settings.model_dump_json())


def _exchange(method: str, url: str, body: str | None = None) -> SplitState:
    try:
        answer = httpx.request(method, url + ADMIN_PATH, content=body, timeout=_TIMEOUT_SECONDS, trust_env=False)
        return SplitState.model_validate_json(answer.raise_for_status().content)
    except (httpx.HTTPError, ValidationError) as error:
        raise ServingError(
            f"The traffic split at {url} does not answer",
            received=f"{type(error).__name__}: {error}",
            expected=f"its state at {ADMIN_PATH}",
            what_to_do="Deploy again; the split's log is beside the servers' logs.",
        ) from error
