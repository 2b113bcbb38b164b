"""What a schedule is to be, and the schedules that there are.

Kubeflow's recurring runs have names that are not unique, and cannot be changed. So a schedule is known by the mark in
its description (`Mark`): a key that says which schedule it is, and a digest of what was asked for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import kfp_server_api as api
from pydantic import Field, ValidationError, field_validator, model_validator

from stepworks.errors import ConfigurationError, NotFoundError, UserError
from stepworks.kubeflow.delivery.cron import Cron, parse_cron
from stepworks.kubeflow.delivery.mark import Mark, read_mark
from stepworks.kubeflow.delivery.server import Kubeflow
from stepworks.settings_file import Setting


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

    name: str = Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
    pipeline: str
    version: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    cron: str | None = None
    interval_seconds: int | None = Field(default=None, ge=60)
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
    try:
        return ScheduleSpec.model_validate(given)
    except ValidationError as error:
        fault = error.errors()[0]
        field = ".".join(map(str, fault["loc"]))
        raise ConfigurationError(
            "The schedule is wrong",
            received=f"{field} {fault['input']!r}: {fault['msg']}"
            if field
            else fault["msg"].removeprefix("Value error, "),
            what_to_do="Correct it; see stepworks schedule --help",
        ) from error


def _normal(value: Any) -> Any:
    """A value as JSON without the difference between 1 and 1.0, which Kubeflow does not keep."""
    if isinstance(value, Mapping):
        return {str(key): _normal(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_normal(each) for each in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value


@dataclass(frozen=True)
class Owner:
    """Whose schedules they are: two owners in one Kubeflow never touch each other's.

    Attributes:
        project: The repository or team.
        environment: For example `staging`.
    """

    project: str
    environment: str

    def key(self, namespace: str | None, name: str) -> str:
        """The key of a schedule, whatever its identifier."""
        return f"{self.project}/{self.environment}/{namespace or '-'}/{name}"


@dataclass(frozen=True)
class Schedule:
    """A recurring run that Stepworks made."""

    recurring_run: api.V2beta1RecurringRun
    mark: Mark

    @property
    def id(self) -> str:
        """Its identifier in Kubeflow."""
        return str(self.recurring_run.recurring_run_id)

    @property
    def enabled(self) -> bool:
        """Whether it runs."""
        return str(self.recurring_run.status) == "ENABLED"

    @property
    def name(self) -> str:
        """The schedule's name, without project, environment and namespace."""
        return self.mark.key.rpartition("/")[2]

    @property
    def when(self) -> str:
        """When it runs, as people write it."""
        trigger = self.recurring_run.trigger
        if trigger and trigger.cron_schedule and trigger.cron_schedule.cron:
            return str(trigger.cron_schedule.cron).removeprefix("0 ")
        if trigger and trigger.periodic_schedule:
            return f"every {trigger.periodic_schedule.interval_second} s"
        return "never"

    def next_times(self, after: datetime, count: int = 5) -> list[datetime]:
        """When it would start next, in UTC; none for an interval, whose phase Kubeflow does not tell."""
        trigger = self.recurring_run.trigger
        if not (trigger and trigger.cron_schedule and trigger.cron_schedule.cron):
            return []
        return parse_cron(self.when).next_times(after, count)

    @property
    def made_at(self) -> datetime:
        """When it was made."""
        return self.recurring_run.created_at or datetime.fromtimestamp(0, UTC)


def schedules_of(server: Kubeflow, owner: Owner, name: str | None = None) -> list[Schedule]:
    """The schedules of an owner, or the ones of one name, oldest first; foreign ones are left out."""
    prefix = owner.key(server.namespace, name or "")
    found = (
        Schedule(each, mark) for each in server.recurring_runs() if (mark := read_mark(each.description)) is not None
    )
    mine = [each for each in found if (each.mark.key == prefix if name else each.mark.key.startswith(prefix))]
    return sorted(mine, key=lambda each: each.made_at)


def current(schedules: Iterable[Schedule]) -> dict[str, Schedule]:
    """Of each name the schedule that counts: the one that is enabled, else the newest."""
    chosen: dict[str, Schedule] = {}
    for each in schedules:
        before = chosen.get(each.name)
        if before is None or each.enabled or not before.enabled:
            chosen[each.name] = each
    return chosen


def find_schedule(server: Kubeflow, owner: Owner, name: str) -> Schedule:
    """The schedule of a name that counts.

    Raises:
        NotFoundError: The owner has none of that name.
    """
    found = current(schedules_of(server, owner))
    if name not in found:
        raise NotFoundError(
            f"{owner.project}/{owner.environment} has no schedule {name}",
            received=name,
            expected=f"one of {', '.join(sorted(found)) or 'none'}",
            what_to_do="Correct the name, --project, --environment or --namespace; see stepworks schedules --all",
        )
    return found[name]


def delete_schedules(server: Kubeflow, owner: Owner, name: str, *, end_runs: bool) -> list[Schedule]:
    """Delete a schedule and what it replaced.

    Args:
        server: The API server.
        owner: Whose schedule it is.
        name: Its name.
        end_runs: Whether to delete it although runs that it started go on. In the cluster they belong to it, and are
            ended with it.

    Raises:
        NotFoundError: The owner has none of that name.
        UserError: Runs of it go on, and `end_runs` is not set; it is paused, and nothing is deleted.
    """
    counting = find_schedule(server, owner, name)
    server.set_enabled(counting.id, enabled=False)  # no run starts between the look and the deletion
    mine = schedules_of(server, owner, name)
    going = [run for each in mine for run in server.active_runs(each.id)]
    if going and not end_runs:
        raise UserError(
            f"{len(going)} run(s) of the schedule {name} go on, and would be ended with it",
            received=", ".join(str(run.display_name) for run in going[:5]),
            expected="a schedule whose runs are over",
            what_to_do="It is paused now. Wait for the runs and delete it again, or add --end-runs.",
        )
    for each in mine:
        server.delete_recurring_run(each.id)
    return mine


@dataclass(frozen=True)
class Listed:
    """A line of the list of schedules.

    Attributes:
        name: The schedule's name; the key of another owner's; the display name of what Stepworks did not make.
        state: `enabled`, `paused`, `replaced` or `foreign, …`.
        runs: What it runs.
        schedule: The recurring run.
    """

    name: str
    state: str
    runs: str
    schedule: Schedule


def listed(server: Kubeflow, owner: Owner, *, everything: bool = False) -> list[Listed]:
    """The schedules to show: the ones of an owner that count; or everything that there is.

    Args:
        server: The API server.
        owner: Whose schedules.
        everything: Whether to list also what was replaced, what is another owner's and what Stepworks did not make.
    """
    mine = schedules_of(server, owner)
    counting = {each.id for each in current(mine).values()}
    rows = []
    for each in server.recurring_runs():
        mark = read_mark(each.description)
        schedule = Schedule(each, mark or Mark(str(each.display_name), "", ""))
        state = "enabled" if schedule.enabled else "paused"
        runs = (each.description or "").partition("\n")[0]
        if schedule.id in counting:
            rows.append(Listed(schedule.name, state, runs, schedule))
        elif everything:
            own = schedule.id in {replaced.id for replaced in mine}
            told = "replaced" if own and not schedule.enabled else f"{'other' if mark else 'foreign'}, {state}"
            rows.append(Listed(schedule.name if own else schedule.mark.key, told, runs, schedule))
    return sorted(rows, key=lambda row: (row.name, row.state))
