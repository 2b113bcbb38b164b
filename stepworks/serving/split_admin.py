"""What a traffic split is told, and what it tells: its settings and its counts."""

from __future__ import annotations

from typing import Literal

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stepworks.errors import ServingError

ARM_HEADER = "x-stepworks-arm"
ADMIN_PATH = "/-/split"

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
        latency_p50_ms: The median time to its answer, in milliseconds.
        latency_p95_ms: The 95th percentile of the same.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    requests: int
    errors: int
    latency_p50_ms: float | None
    latency_p95_ms: float | None


class SplitState(BaseModel):
    """The settings, and what both arms did under them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    settings: SplitSettings
    arms: dict[ArmName, ArmCounts]


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
