"""A CronJob: a Job that Kubernetes makes again and again, by the clock."""

from __future__ import annotations

import difflib
import re
import zoneinfo
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, Field

from stepworks.kube.builders.job import JobSpec, job_template
from stepworks.kube.kinds.manifests import Manifest
from stepworks.kube.kinds.names import check_name
from stepworks.settings_file import Setting, validated

ConcurrencyPolicy = Literal["Allow", "Forbid", "Replace"]
"""What becomes of a Job that is due while the last one runs."""

_NICKNAMES = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
_TERM = re.compile(r"(\*|[0-9]+|[A-Za-z]{3})(-([0-9]+|[A-Za-z]{3}))?(/[0-9]+)?")
_EXAMPLE = "'0 3 * * *' for each night at three, or '*/30 8-17 * * MON-FRI'"


def check_schedule(schedule: str) -> str:
    """Return a schedule as Kubernetes takes it: five fields, or a nickname such as `@daily`.

    Raises:
        ValueError: It has another form, or no day ever comes on which it would start a Job.
    """
    if schedule in _NICKNAMES:
        return schedule
    if schedule.startswith(("TZ=", "CRON_TZ=")):
        raise ValueError(f"{schedule!r} names a time zone, which has a field of its own")
    fields = schedule.replace("?", "*").split()
    if len(fields) != 5:
        raise ValueError(
            f"{schedule!r} has {len(fields)} fields, and needs five: minute, hour, day of the month, month, weekday; "
            f"write for example {_EXAMPLE}"
        )
    if re.search(r"(^|[,-])7", fields[4]):
        raise ValueError(f"{schedule!r} has the weekday 7, which Kubernetes does not know; Sunday is 0")
    foreign = [term for field in fields for term in field.split(",") if not _TERM.fullmatch(term)]
    if foreign:
        raise ValueError(
            f"{schedule!r} has {foreign[0]!r}, which Kubernetes does not know; write for example {_EXAMPLE}"
        )
    try:
        next(CronSim(" ".join(fields), datetime(2000, 1, 1, tzinfo=UTC)))
    except CronSimError as error:
        raise ValueError(f"{schedule!r} is not a schedule: {error}; write for example {_EXAMPLE}") from error
    except StopIteration as error:
        raise ValueError(f"{schedule!r} never comes: there is no such day in the calendar") from error
    return schedule


def check_time_zone(name: str) -> str:
    """Return the name of a time zone of the IANA database, `Europe/Zurich`.

    Raises:
        ValueError: The database has none of that name.
    """
    known = zoneinfo.available_timezones()
    if name in known and name != "localtime":
        return name
    near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.5)
    advice = f"did you mean {near[0]}?" if near else "for example Europe/Zurich or Etc/UTC"
    raise ValueError(f"{name!r} is not a time zone of the IANA database; {advice}")


class CronJobSpec(Setting):
    """When Kubernetes makes a Job, and which.

    Attributes:
        name: The CronJob's name. Its Jobs add eleven characters to it.
        schedule: Five fields (minute, hour, day of the month, month, weekday), or `@daily` and the like.
        time_zone: The time zone of the schedule, as the IANA database names it; without it that of the cluster's
            controller manager, which mostly is UTC.
        concurrency_policy: What becomes of a Job that is due while the last one runs: `Forbid` leaves it out, `Replace`
            ends the last one, `Allow` starts it beside.
        starting_deadline_seconds: How late a Job may start that could not start in time, as when the controller
            manager was away. Without it, any time; but after a hundred missed starts it starts no more at all.
        successful_jobs_history_limit: How many completed Jobs stay.
        failed_jobs_history_limit: How many failed Jobs stay.
        suspend: Whether it starts nothing until that is changed.
        job: What it makes.
    """

    name: str
    schedule: Annotated[str, AfterValidator(check_schedule)]
    time_zone: Annotated[str, AfterValidator(check_time_zone)] | None = None
    concurrency_policy: ConcurrencyPolicy = "Forbid"
    starting_deadline_seconds: int | None = Field(default=None, ge=10)  # the controller looks each ten seconds
    successful_jobs_history_limit: int = Field(default=3, ge=0)
    failed_jobs_history_limit: int = Field(default=3, ge=0)
    suspend: bool = False
    job: JobSpec


def cron_job_spec(**given: Any) -> CronJobSpec:
    """Make the specification of a CronJob from what a command was given.

    Raises:
        ConfigurationError: A value is wrong; the message names the field.
    """
    return validated(
        CronJobSpec,
        given,
        problem="A setting of the CronJob is not valid",
        what_to_do="Correct the value; see stepworks cronjob --help",
    )


def build_cron_job(spec: CronJobSpec, *, namespace: str | None = None) -> Manifest:
    """Build a CronJob.

    Args:
        spec: When it makes which Job.
        namespace: Its namespace; without it, the one that it is applied to.

    Raises:
        ConfigurationError: A name is illegal or too long, or the placement cannot be applied.
    """
    metadata: Manifest = {"name": check_name("CronJob", spec.name)}
    if namespace is not None:
        metadata["namespace"] = check_name("Namespace", namespace)
    specification: Manifest = {
        "schedule": spec.schedule,
        "concurrencyPolicy": spec.concurrency_policy,
        "suspend": spec.suspend,
        "successfulJobsHistoryLimit": spec.successful_jobs_history_limit,
        "failedJobsHistoryLimit": spec.failed_jobs_history_limit,
        "jobTemplate": job_template(spec.job, {}),
    }
    if spec.time_zone is not None:
        specification["timeZone"] = spec.time_zone
    if spec.starting_deadline_seconds is not None:
        specification["startingDeadlineSeconds"] = spec.starting_deadline_seconds
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": metadata, "spec": specification}
