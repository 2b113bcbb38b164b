"""A CronJob as it is sent, and the schedules and time zones that Kubernetes takes."""

import re
from typing import Any

import pytest

from stepworks.errors import ConfigurationError
from stepworks.kube.builders.cron_job import build_cron_job, check_schedule, check_time_zone, cron_job_spec
from stepworks.kube.builders.job import job_spec, job_template

CPU: dict[str, Any] = {"cpu": {"request": "1", "limit": "2"}, "memory": {"request": "1Gi", "limit": "2Gi"}}
JOB = job_spec(image="registry.example.com/tools:1", placement={**CPU, "queue": "team"})


def test_a_cron_job_that_says_little() -> None:
    assert build_cron_job(cron_job_spec(name="nightly", schedule="0 3 * * *", job=JOB)) == {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "nightly"},
        "spec": {
            "schedule": "0 3 * * *",
            "concurrencyPolicy": "Forbid",
            "suspend": False,
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 3,
            "jobTemplate": job_template(JOB, {}),
        },
    }
    assert job_template(JOB, {})["metadata"] == {"labels": {"kueue.x-k8s.io/queue-name": "team"}}


def test_a_cron_job_with_everything() -> None:
    spec = cron_job_spec(
        name="nightly",
        schedule="@daily",
        time_zone="Europe/Zurich",
        concurrency_policy="Replace",
        starting_deadline_seconds=60,
        successful_jobs_history_limit=0,
        failed_jobs_history_limit=1,
        suspend=True,
        job=JOB,
    )
    built = build_cron_job(spec, namespace="team-a")
    assert built["metadata"] == {"name": "nightly", "namespace": "team-a"}
    assert {key: value for key, value in built["spec"].items() if key != "jobTemplate"} == {
        "schedule": "@daily",
        "timeZone": "Europe/Zurich",
        "concurrencyPolicy": "Replace",
        "startingDeadlineSeconds": 60,
        "suspend": True,
        "successfulJobsHistoryLimit": 0,
        "failedJobsHistoryLimit": 1,
    }


@pytest.mark.parametrize(
    "schedule", ["0 3 * * *", "*/30 8-17 * * MON-FRI", "0 0 1,15 jan-JUL ?", "5/10 * * * 0", "0 0 * * MON/2", "@weekly"]
)
def test_a_schedule_is_taken(schedule: str) -> None:
    assert check_schedule(schedule) == schedule


@pytest.mark.parametrize(
    ("schedule", "told"),
    [
        ("", "has 0 fields"),
        ("0 3 * *", "has 4 fields"),
        ("0 0 3 * * *", "has 6 fields"),
        ("@nightly", "has 1 fields"),
        ("60 * * * *", "Bad minute"),
        ("0 0 31 2 *", "Bad day-of-month"),
        ("0 0 * * 7", "Sunday is 0"),
        ("0 0 * * MON,5-7", "Sunday is 0"),
        ("0 0 L * *", "'L', which Kubernetes does not know"),
        ("0 0 * * 5#2", "'5#2', which Kubernetes does not know"),
        ("0 0 * * FRIL", "'FRIL', which Kubernetes does not know"),
        ("TZ=Europe/Zurich 0 3 * * *", "names a time zone"),
    ],
)
def test_a_schedule_is_refused(schedule: str, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)) as raised:
        check_schedule(schedule)
    assert repr(schedule) in str(raised.value)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Europe/Zuric", "did you mean Europe/Zurich?"),
        ("CEST+2", "is not a time zone"),
        ("Local", "is not a time zone"),
        ("", "for example Europe/Zurich"),
        ("../etc/passwd", "is not a time zone"),
    ],
)
def test_a_time_zone_is_refused(name: str, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        check_time_zone(name)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"schedule": "x"}, "schedule: 'x' has 1 fields"),
        ({"time_zone": "Mars"}, "time_zone: 'Mars' is not a time zone"),
        ({"concurrency_policy": "Never"}, "concurrency_policy"),
        ({"starting_deadline_seconds": 9}, "starting_deadline_seconds"),
        ({"failed_jobs_history_limit": -1}, "failed_jobs_history_limit"),
    ],
)
def test_a_wrong_field_is_named(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match="A setting of the CronJob is not valid") as raised:
        cron_job_spec(**{"name": "nightly", "schedule": "@daily", "job": JOB, **changes})
    assert told in raised.value.received


@pytest.mark.parametrize("name", ["n" * 53, "Nightly", "", "a_b"])
def test_an_illegal_name_is_told(name: str) -> None:
    with pytest.raises(ConfigurationError):
        build_cron_job(cron_job_spec(name=name, schedule="@daily", job=JOB))
