"""Putting a schedule in place: made once, replaced when it is to be another, never doubled.

A recurring run cannot be changed. The order below is safe to stop at any point and to run again: make the new one
disabled, look at it, disable the old one, enable the new one. Between the last two no schedule runs, for a second or
two and away from the times at which either would start: a run too late is better than two at once. The old one stays,
disabled: deleting it would end the runs that it has started.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Literal

import kfp_server_api as api

from stepworks.errors import DeliveryError, StepworksError
from stepworks.kubeflow.delivery.calls import settle
from stepworks.kubeflow.delivery.mark import Mark, read_mark
from stepworks.kubeflow.delivery.runs import experiment_id
from stepworks.kubeflow.delivery.schedule import Owner, Schedule, schedules_of
from stepworks.kubeflow.delivery.schedule_spec import ScheduleSpec
from stepworks.kubeflow.delivery.server import Kubeflow

QUIET = timedelta(seconds=60)
"""How far the next start must be away when one schedule hands over to another."""

Outcome = Literal["created", "replaced", "resumed", "paused", "unchanged"]


@dataclass(frozen=True)
class Clock:
    """Time, to be put in other hands in tests."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class Put:
    """What became of a schedule.

    Attributes:
        schedule: The one that counts now.
        outcome: What was done.
        replaced: The ones that it replaced; they are disabled.
        gap_seconds: How long no schedule ran.
    """

    schedule: Schedule
    outcome: Outcome
    replaced: tuple[Schedule, ...] = ()
    gap_seconds: float = 0.0


def put_schedule(
    server: Kubeflow,
    owner: Owner,
    spec: ScheduleSpec,
    version: api.V2beta1PipelineVersion,
    clock: Clock | None = None,
    *,
    tell: Callable[[str], None] = lambda _: None,
) -> Put:
    """Have one schedule that does what the specification says, and none of the same name beside it.

    Args:
        server: The API server.
        owner: Whose schedule it is.
        spec: What it is to be.
        version: The version that it runs.
        clock: The time.
        tell: Is told what is waited for.

    Raises:
        DeliveryError: Kubeflow kept something else than it was given, or stopped to answer. What ran before runs on.
    """
    clock = clock or Clock()
    digest = spec.digest(version)
    mine = schedules_of(server, owner, spec.name)
    same = [each for each in mine if each.mark.spec == digest]
    # One that was replaced is not taken again: the newest of a name has to be the one that counts, also when it is
    # paused. The newest may be there and disabled when an earlier try stopped before its end.
    chosen = next((each for each in same if each.enabled or each is mine[-1]), None)
    made = chosen is None
    if chosen is None:
        chosen = _create_disabled(server, owner, spec, version, digest)
    _compare(spec, version, server.recurring_run(chosen.id))
    running = [each for each in mine if each.enabled and each.id != chosen.id]
    if not spec.enabled:
        return _pause(server, chosen, running, made=made)
    if chosen.enabled:
        for each in running:
            server.set_enabled(each.id, enabled=False)
        return Put(chosen, "replaced" if running else "unchanged", tuple(running))
    if not running:
        server.set_enabled(chosen.id, enabled=True)
        _leave_one(server, owner, chosen)
        return Put(
            chosen, "created" if made and not mine else "replaced" if made else "resumed", tuple(mine if made else ())
        )
    _wait_for_quiet(spec, running, clock, tell)
    began = clock.now()
    _hand_over(server, running, chosen)
    _leave_one(server, owner, chosen)
    return Put(chosen, "replaced", tuple(running), (clock.now() - began).total_seconds())


def _create_disabled(
    server: Kubeflow, owner: Owner, spec: ScheduleSpec, version: api.V2beta1PipelineVersion, digest: str
) -> Schedule:
    mark = Mark(owner.key(server.namespace, spec.name), digest, uuid.uuid4().hex)
    body = api.V2beta1RecurringRun(
        display_name=spec.name,
        description=mark.describe(f"{spec.pipeline} {version.name}, {spec.parsed_cron() or 'at an interval'}"),
        experiment_id=experiment_id(server, spec.experiment),
        mode=api.RecurringRunMode.DISABLE,
        # Otherwise Kubeflow starts a run for each time that was missed since it was made, as soon as it is enabled.
        no_catchup=True,
        max_concurrency=str(spec.max_concurrency),
        trigger=spec.trigger(),
        pipeline_version_reference=api.V2beta1PipelineVersionReference(
            pipeline_id=version.pipeline_id, pipeline_version_id=version.pipeline_version_id
        ),
        runtime_config=api.V2beta1RuntimeConfig(parameters=spec.parameters),
        service_account=spec.service_account,
    )

    def find() -> api.V2beta1RecurringRun | None:
        return next((each for each in server.recurring_runs() if read_mark(each.description) == mark), None)

    return Schedule(settle(lambda: server.create_recurring_run(body), find), mark)


def _compare(spec: ScheduleSpec, version: api.V2beta1PipelineVersion, kept: api.V2beta1RecurringRun) -> None:
    """See that Kubeflow kept what it was given, before anything is handed over to it."""
    cron = spec.parsed_cron()
    trigger = kept.trigger
    given = {
        "version": version.pipeline_version_id,
        "cron": cron.six_fields if cron else None,
        "interval": str(spec.interval_seconds) if spec.interval_seconds else None,
        "catch-up": True,
        "runs at once": str(spec.max_concurrency),
    }
    there = {
        "version": kept.pipeline_version_reference.pipeline_version_id if kept.pipeline_version_reference else None,
        "cron": trigger.cron_schedule.cron if trigger and trigger.cron_schedule else None,
        "interval": trigger.periodic_schedule.interval_second if trigger and trigger.periodic_schedule else None,
        "catch-up": kept.no_catchup,
        "runs at once": kept.max_concurrency,
    }
    wrong = [name for name in given if given[name] != there[name]]
    if wrong:
        raise DeliveryError(
            f"Kubeflow keeps the schedule {spec.name} otherwise than it was asked to",
            received="; ".join(f"{name}: {there[name]}" for name in wrong),
            expected="; ".join(f"{name}: {given[name]}" for name in wrong),
            what_to_do=f"What ran before runs on. Delete the recurring run {kept.recurring_run_id}, and run again.",
        )


def _pause(server: Kubeflow, chosen: Schedule, running: Sequence[Schedule], *, made: bool) -> Put:
    stopped = [*running, *([chosen] if chosen.enabled else [])]
    for each in stopped:
        server.set_enabled(each.id, enabled=False)
    return Put(chosen, "paused" if stopped or made else "unchanged", tuple(running))


def _wait_for_quiet(spec: ScheduleSpec, running: Sequence[Schedule], clock: Clock, tell: Callable[[str], None]) -> None:
    """Wait until no start is near, so that none falls into the gap.

    Where starts follow one another more closely than that, there is no such moment, and none is waited for.
    """
    now = clock.now()
    known = [
        times
        for times in [spec.next_times(now) if spec.cron else [], *(each.next_times(now) for each in running)]
        if times
    ]
    # Of each schedule the next few starts are known; after the last of one, it may start at any moment.
    end = min((times[-1] for times in known), default=now)
    starts = sorted({time for times in known for time in times if time <= end})
    for before, after in pairwise([now, *starts]):
        if after - before > QUIET:
            if before > now:
                tell(f"Waiting until {before:%H:%M:%S} UTC, so that no start falls between the two schedules …")
                clock.sleep((before - now).total_seconds() + 1)
            return


def _hand_over(server: Kubeflow, running: Sequence[Schedule], chosen: Schedule) -> None:
    """Disable the old, enable the new; put the old back when that fails."""
    try:
        for each in running:
            server.set_enabled(each.id, enabled=False)
        server.set_enabled(chosen.id, enabled=True)
    except BaseException as error:
        try:
            # The answer to the last call may be lost, and the new one run: then the old one must not.
            if not Schedule(server.recurring_run(chosen.id), chosen.mark).enabled:
                server.set_enabled(running[-1].id, enabled=True)
        except StepworksError:
            error.add_note(f"Perhaps no schedule {chosen.name} runs now. Run the same command again.")
        raise


def _leave_one(server: Kubeflow, owner: Owner, chosen: Schedule) -> None:
    """Leave one schedule of a name enabled, when two commands have put theirs at the same time.

    Both look after they have enabled theirs, so the later one sees both; both keep the newest.

    Raises:
        DeliveryError: What another command put is kept, and it is another schedule.
    """
    enabled = [each for each in schedules_of(server, owner, chosen.name) if each.enabled]
    kept = max(enabled, key=lambda each: (each.made_at, each.id), default=chosen)
    for each in enabled:
        if each.id != kept.id:
            server.set_enabled(each.id, enabled=False)
    if kept.mark.spec != chosen.mark.spec:
        raise DeliveryError(
            f"Another command has put the schedule {chosen.name} at the same time",
            received=f"{kept.id}, which is kept: it is the newer one",
            expected="one command at a time",
            what_to_do="Look at it with stepworks schedules; run the command again to replace it.",
        )
