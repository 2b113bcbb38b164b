"""The schedules that there are, and whose they are.

Kubeflow's recurring runs have names that are not unique, and cannot be changed. So a schedule is known by the mark in
its description (`Mark`): a key that says which schedule it is, and a digest of what was asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import kfp_server_api as api

from stepworks.errors import ConfigurationError, NotFoundError, UserError
from stepworks.kubeflow.delivery.cron import parse_cron
from stepworks.kubeflow.delivery.mark import Mark, read_mark
from stepworks.kubeflow.delivery.server import Kubeflow


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
            fields = str(trigger.cron_schedule.cron).split()
            return " ".join(fields[1:] if len(fields) == 6 and fields[0] == "0" else fields)
        if trigger and trigger.periodic_schedule:
            return f"every {trigger.periodic_schedule.interval_second} s"
        return "never"

    def next_times(self, after: datetime, count: int = 5) -> list[datetime]:
        """When it would start next, in UTC.

        None for an interval, whose phase Kubeflow does not tell, and for what others wrote in another form.
        """
        trigger = self.recurring_run.trigger
        if not (trigger and trigger.cron_schedule and trigger.cron_schedule.cron):
            return []
        if len(trigger.cron_schedule.cron.split()) != 6:
            return []  # five fields mean something else to Kubeflow
        try:
            return parse_cron(self.when).next_times(after, count)
        except ConfigurationError:
            return []

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


def delete_schedules(
    server: Kubeflow, owner: Owner, name: str, *, replaced_only: bool = False, end_runs: bool = False
) -> list[Schedule]:
    """Delete a schedule and what it replaced.

    Args:
        server: The API server.
        owner: Whose schedule it is.
        name: Its name.
        replaced_only: Whether to delete only what it replaced, and to leave itself as it is.
        end_runs: Whether to delete it although runs that it started go on. In the cluster they belong to it, and are
            ended with it.

    Raises:
        NotFoundError: The owner has none of that name.
        UserError: Runs of it go on, and `end_runs` is not set; it is paused, and nothing is deleted.
    """
    counting = find_schedule(server, owner, name)
    if not replaced_only:
        server.set_enabled(counting.id, enabled=False)  # no run starts between the look and the deletion
    going_away = [
        each
        for each in schedules_of(server, owner, name)
        if not (replaced_only and (each.enabled or each.id == counting.id))
    ]
    going_on = [run for each in going_away for run in server.active_runs(each.id)]
    if going_on and not end_runs:
        raise UserError(
            f"{len(going_on)} run(s) of the schedule {name} go on, and would be ended with it",
            received=", ".join(str(run.display_name) for run in going_on[:5]),
            expected="a schedule whose runs are over",
            what_to_do=f"{'' if replaced_only else 'It is paused now. '}Wait for the runs and delete it again, or add "
            "--end-runs.",
        )
    for each in going_away:
        server.delete_recurring_run(each.id)
    return going_away


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
