"""The record of a run: its steps and its lineage."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from stepworks.report.document import Fragment


class StepRecord(Fragment):
    """One step of a run. `seconds` is wall time of all its attempts; `log` is a path in the run's folder."""

    name: str
    component: str
    state: Literal["pending", "running", "succeeded", "failed", "skipped", "cancelled"]
    seconds: float | None = None
    attempts: int = 0
    depends_on: list[str] = Field(default_factory=list)
    log: str | None = None
    error: str | None = None


class RunRecord(Fragment):
    """One run of a pipeline: its steps and its lineage. Times are ISO 8601 in UTC."""

    run_id: str
    pipeline: str
    version: str
    state: Literal["running", "succeeded", "failed", "cancelled"]
    started: str
    seconds: float
    steps: list[StepRecord]
    parameters: dict[str, str] = Field(default_factory=dict)
    data_digest: str | None = None
    code_revision: str | None = None
    package_versions: dict[str, str] = Field(default_factory=dict)
