"""What a schedule is to be."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import kfp_server_api as api
from pydantic import Field, field_validator, model_validator

from stepworks.errors import ConfigurationError
from stepworks.kubeflow.delivery.cron import Cron, parse_cron
from stepworks.kubeflow.semantic_version import Version
from stepworks.placement.names import DnsLabel
from stepworks.settings_file import Setting, validated

LONGEST_INTERVAL = 366 * 24 * 3600
"""Seconds; a year."""


class ScheduleSpec(Setting):
    """When a version of a pipeline runs, and with what.

    Attributes:
        name: The schedule's name, unique in its environment.
        pipeline: The pipeline.
        version: Its version. Kubeflow would follow the newest one otherwise, so that an upload changes production.
        cron: Five fields, for example `0 3 * * *`; or
        interval_seconds: the time between two starts.
        parameters: The parameters that differ from their defaults.
        max_concurrency: How many of its runs may go on at once.
        experiment: The experiment of its runs.
        service_account: The ServiceAccount of their pods; Kubeflow's own when None.
        enabled: Whether it runs; false keeps it there, paused.
    """

    name: DnsLabel
    pipeline: str
    version: Version
    cron: str | None = None
    interval_seconds: int | None = Field(default=None, ge=60, le=LONGEST_INTERVAL)
    parameters: dict[str, Any] = Field(default_factory=dict)
    max_concurrency: int = Field(default=1, ge=1, le=10)
    experiment: str = "schedules"
    service_account: str | None = None
    enabled: bool = True

    @model_validator(mode="after")
    def _check(self) -> ScheduleSpec:
        if (self.cron is None) == (self.interval_seconds is None):
            raise ValueError(f"the schedule {self.name} needs a cron expression or interval_seconds, and not both")
        return self

    @field_validator("cron")
    @classmethod
    def _check_cron(cls, value: str | None) -> str | None:
        try:
            return value if value is None else str(parse_cron(value))
        except ConfigurationError as error:
            raise ValueError(f"{error.received} is no cron expression; expected {error.expected}") from error

    def parsed_cron(self) -> Cron | None:
        """The cron expression; None for an interval."""
        return parse_cron(self.cron) if self.cron is not None else None

    def next_times(self, after: datetime, count: int = 5) -> list[datetime]:
        """When it would start next, in UTC; an interval counts from the moment that it is enabled."""
        cron = self.parsed_cron()
        if cron:
            return cron.next_times(after, count)
        return [after + timedelta(seconds=(self.interval_seconds or 0) * (place + 1)) for place in range(count)]

    def trigger(self) -> api.V2beta1Trigger:
        """The trigger as Kubeflow takes it."""
        cron = self.parsed_cron()
        if cron:
            return api.V2beta1Trigger(cron_schedule=api.V2beta1CronSchedule(cron=cron.six_fields))
        return api.V2beta1Trigger(
            periodic_schedule=api.V2beta1PeriodicSchedule(interval_second=str(self.interval_seconds))
        )

    def digest(self, version: api.V2beta1PipelineVersion) -> str:
        """A digest of what runs and when: equal for two schedules that do the same."""
        content = {
            "version": version.pipeline_version_id,
            "when": str(self.parsed_cron() or f"every {self.interval_seconds} s"),
            "parameters": _normal(self.parameters),
            "max_concurrency": self.max_concurrency,
            "experiment": self.experiment,
            "service_account": self.service_account,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def schedule_spec(**given: Any) -> ScheduleSpec:
    """Make a specification of what a command was given.

    Raises:
        ConfigurationError: A value is wrong.
    """
    if given.get("cron") is not None:
        parse_cron(given["cron"])  # its own error says more
    return validated(
        ScheduleSpec,
        given,
        problem="The schedule is wrong",
        what_to_do="Correct it; see stepworks schedule --help",
    )


def _normal(value: Any) -> Any:
    """A value as JSON without the difference between 1 and 1.0, which Kubeflow does not keep."""
    if isinstance(value, Mapping):
        return {str(key): _normal(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_normal(each) for each in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value
