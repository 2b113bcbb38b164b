import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepworks.errors import ConfigurationError, DeliveryError, NotFoundError, UserError
from stepworks.kubeflow.delivery.login import login_of
from stepworks.kubeflow.delivery.mark import read_mark
from stepworks.kubeflow.delivery.replace import Clock, put_schedule
from stepworks.kubeflow.delivery.schedule import (
    Owner,
    current,
    delete_schedules,
    find_schedule,
    listed,
    schedules_of,
)
from stepworks.kubeflow.delivery.schedule_spec import ScheduleSpec, schedule_spec
from stepworks.kubeflow.delivery.server import Kubeflow, connect
from stepworks.kubeflow.delivery.upload import upload
from stepworks.kubeflow.delivery.version_file import find_version_file
from tests.kfp_server import KfpServer, kfp_server

OWNER = Owner("stepworks", "test")
NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


class Time:
    """A clock that stands still but for sleeping."""

    def __init__(self, now: datetime = NOON) -> None:
        self.at = now
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += timedelta(seconds=seconds)

    def clock(self) -> Clock:
        return Clock(lambda: self.at, self.sleep)


def spec(**changes: Any) -> ScheduleSpec:
    given = {"name": "nightly", "pipeline": "rows", "version": "0.10.0", "cron": "0 3 * * *", "parameters": {"rows": 4}}
    return schedule_spec(**{**given, **changes})


@pytest.fixture
def version(kubeflow: Kubeflow, compiled: Path) -> Any:
    return upload(kubeflow, find_version_file(compiled, "rows", target="a100")).version


def put(kubeflow: Kubeflow, version: Any, time: Time | None = None, **changes: Any) -> Any:
    return put_schedule(kubeflow, OWNER, spec(**changes), version, (time or Time()).clock())


def test_a_schedule_is_made_as_it_was_asked_for(kfp: KfpServer, kubeflow: Kubeflow, version: Any) -> None:
    assert put(kubeflow, version).outcome == "created"
    (kept,) = kfp.recurring_runs.values()
    assert kept["trigger"] == {"cron_schedule": {"cron": "0 0 3 * * *"}}
    assert kept["no_catchup"] is True
    assert kept["status"] == "ENABLED"
    assert kept["max_concurrency"] == "1"
    assert kept["runtime_config"]["parameters"] == {"rows": 4}
    assert kept["pipeline_version_reference"]["pipeline_version_id"] == version.pipeline_version_id
    mark = read_mark(kept["description"])
    assert mark is not None
    assert mark.key == "stepworks/test/-/nightly"


def test_a_schedule_is_made_disabled_and_enabled_last(kfp: KfpServer, kubeflow: Kubeflow, version: Any) -> None:
    kfp.fail("POST", ":enable", "503", times=99)
    with pytest.raises(DeliveryError):
        put(kubeflow, version)
    assert len(kfp.recurring_runs) == 1
    assert not kfp.enabled()
    kfp.faults.clear()
    assert put(kubeflow, version).outcome == "resumed"
    assert len(kfp.recurring_runs) == len(kfp.enabled()) == 1


def test_the_same_again_writes_nothing(kfp: KfpServer, kubeflow: Kubeflow, version: Any) -> None:
    put(kubeflow, version)
    before = kfp.writes()
    assert put(kubeflow, version, parameters={"rows": 4.0}).outcome == "unchanged"
    assert kfp.writes() == before


@pytest.mark.parametrize(
    "change",
    [
        {"cron": "0 4 * * *"},
        {"parameters": {"rows": 5}},
        {"max_concurrency": 2},
        {"cron": None, "interval_seconds": 3600},
        {"service_account": "team-sa"},
        {"experiment": "other"},
    ],
)
def test_another_schedule_replaces_the_first(
    kfp: KfpServer, kubeflow: Kubeflow, version: Any, change: dict[str, Any]
) -> None:
    first = put(kubeflow, version).schedule
    replaced = put(kubeflow, version, **change)
    assert replaced.outcome == "replaced"
    assert [each.id for each in replaced.replaced] == [first.id]
    assert kfp.enabled() == [replaced.schedule.id] != [first.id]
    assert kfp.recurring_runs[first.id]["status"] == "DISABLED"


def test_after_going_back_the_newest_is_the_one_that_counts(kfp: KfpServer, kubeflow: Kubeflow, version: Any) -> None:
    put(kubeflow, version)
    put(kubeflow, version, cron="0 4 * * *")
    back = put(kubeflow, version).schedule
    kubeflow.set_enabled(back.id, enabled=False)
    assert find_schedule(kubeflow, OWNER, "nightly").when == "0 3 * * *"
    assert len(delete_schedules(kubeflow, OWNER, "nightly", replaced_only=True)) == 2
    assert list(kfp.recurring_runs) == [back.id]


def test_two_commands_at_once_leave_one_schedule(kfp: KfpServer, kubeflow: Kubeflow, version: Any) -> None:
    """Each of the two has looked before the other has made anything."""
    other = connect(login_of(host=kfp.url))
    meeting = threading.Barrier(2, timeout=20)
    outcomes: list[Any] = []

    class Meeting(Kubeflow):
        def create_recurring_run(self, body: Any) -> Any:
            meeting.wait()
            return super().create_recurring_run(body)

    def run(server: Kubeflow, cron: str) -> None:
        server.__class__ = Meeting
        try:
            outcomes.append(put(server, version, cron=cron).outcome)
        except DeliveryError as error:
            outcomes.append(error)

    threads = [
        threading.Thread(target=run, args=(server, cron))
        for server, cron in ((kubeflow, "0 3 * * *"), (other, "0 4 * * *"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(kfp.enabled()) == 1
    assert len([each for each in outcomes if each == "created"]) >= 1


def test_the_namespace_of_a_single_user_is_not_in_the_key(kfp: KfpServer, kubeflow: Kubeflow, version: Any) -> None:
    put(kubeflow, version)
    assert put(connect(login_of(host=kfp.url, namespace="kubeflow")), version).outcome == "unchanged"


@pytest.mark.parametrize("cron", ["0 9 * * *", "30 0 9 * * *", "@every 1h", "0 0 9 L * *"])
def test_what_others_schedule_in_their_own_form_is_listed(
    kfp: KfpServer, kubeflow: Kubeflow, version: Any, cron: str
) -> None:
    put(kubeflow, version)
    (own,) = kfp.recurring_runs.values()
    kfp.create_recurring_run({}, {**own, "description": "", "trigger": {"cron_schedule": {"cron": cron}}})
    rows = listed(kubeflow, OWNER, everything=True)
    assert len(rows) == 2
    assert [row.schedule.next_times(NOON) for row in rows if row.state.startswith("foreign")] == [[]]


@pytest.mark.parametrize("state", [None, "RUNTIME_STATE_UNSPECIFIED", "PENDING", "CANCELING"])
def test_a_run_goes_on_until_its_end_is_told(
    kfp: KfpServer, kubeflow: Kubeflow, version: Any, state: str | None
) -> None:
    schedule = put(kubeflow, version).schedule
    run = kfp.add_run("", "nightly 1", recurring_run_id=schedule.id)
    run["state"] = state
    with pytest.raises(UserError, match="go on"):
        delete_schedules(kubeflow, OWNER, "nightly")


def test_the_hand_over_waits_until_no_start_is_near(kfp: KfpServer, kubeflow: Kubeflow, version: Any) -> None:
    time = Time(datetime(2026, 11, 25, 2, 59, 30, tzinfo=UTC))
    put(kubeflow, version, time)
    told: list[str] = []
    put_schedule(kubeflow, OWNER, spec(parameters={"rows": 5}), version, time.clock(), tell=told.append)
    assert time.slept == [31.0]
    assert ["03:00:00 UTC" in line for line in told] == [True]


@pytest.mark.parametrize("later", ["* * * * *", "*/3 * * * *", "0 3 * * *"])
def test_after_a_schedule_of_each_minute_there_is_no_quiet_moment_to_wait_for(
    kfp: KfpServer, kubeflow: Kubeflow, version: Any, later: str
) -> None:
    time = Time()
    put(kubeflow, version, time, cron="* * * * *")
    assert put(kubeflow, version, time, cron=later, parameters={"rows": 5}).outcome == "replaced"
    assert time.slept == []


def test_when_the_new_one_cannot_be_enabled_the_old_one_runs_on(
    kfp: KfpServer, kubeflow: Kubeflow, version: Any
) -> None:
    first = put(kubeflow, version).schedule
    kfp.fail("POST", ":enable", "503", times=4)
    with pytest.raises(DeliveryError):
        put(kubeflow, version, cron="0 4 * * *")
    assert kfp.enabled() == [first.id]
    assert put(kubeflow, version, cron="0 4 * * *").outcome == "replaced"
    assert len(kfp.enabled()) == 1


@pytest.mark.parametrize("kind", ["cut before", "cut after", "503"])
def test_a_lost_answer_makes_one_schedule(kfp: KfpServer, kubeflow: Kubeflow, version: Any, kind: str) -> None:
    kfp.fail("POST", "^recurringruns$", kind)
    assert put(kubeflow, version).outcome == "created"
    assert len(kfp.recurring_runs) == 1


def test_what_others_made_under_the_same_name_is_not_touched(kfp: KfpServer, kubeflow: Kubeflow, version: Any) -> None:
    put(kubeflow, version)
    (own,) = kfp.enabled()
    foreign = kfp.create_recurring_run({}, {**kfp.recurring_runs[own], "description": "by hand", "mode": "ENABLE"})
    other = put_schedule(kubeflow, Owner("stepworks", "other"), spec(), version, Time().clock()).schedule
    put(kubeflow, version, cron="0 4 * * *")
    assert {foreign["recurring_run_id"], other.id} < set(kfp.enabled())
    delete_schedules(kubeflow, OWNER, "nightly")
    assert set(kfp.recurring_runs) == {foreign["recurring_run_id"], other.id}


def test_a_schedule_can_be_declared_paused(kfp: KfpServer, kubeflow: Kubeflow, version: Any) -> None:
    assert put(kubeflow, version, enabled=False).outcome == "paused"
    assert not kfp.enabled()
    assert put(kubeflow, version, enabled=False).outcome == "unchanged"
    assert put(kubeflow, version).outcome == "resumed"
    assert put(kubeflow, version, enabled=False).outcome == "paused"
    assert not kfp.enabled()


def test_two_that_run_at_once_become_one(kfp: KfpServer, kubeflow: Kubeflow, version: Any) -> None:
    first = put(kubeflow, version).schedule
    second = put(kubeflow, version, cron="0 4 * * *").schedule
    kubeflow.set_enabled(first.id, enabled=True)
    assert put(kubeflow, version, cron="0 4 * * *").outcome == "replaced"
    assert kfp.enabled() == [second.id]


def test_what_kubeflow_keeps_otherwise_is_not_enabled(kfp: KfpServer, kubeflow: Kubeflow, version: Any) -> None:
    kfp.kept_otherwise = {"no_catchup": False}
    with pytest.raises(DeliveryError, match="catch-up"):
        put(kubeflow, version)
    assert not kfp.enabled()


def test_schedules_are_listed_paused_and_deleted(kfp: KfpServer, kubeflow: Kubeflow, version: Any) -> None:
    put(kubeflow, version)
    put(kubeflow, version, cron="0 4 * * *")
    put(kubeflow, version, name="weekly", cron="@weekly", enabled=False)
    kfp.create_recurring_run({}, {**next(iter(kfp.recurring_runs.values())), "description": "by hand"})
    assert [(row.name, row.state, row.schedule.when) for row in listed(kubeflow, OWNER)] == [
        ("nightly", "enabled", "0 4 * * *"),
        ("weekly", "paused", "0 0 * * 0"),
    ]
    states = [row.state for row in listed(kubeflow, OWNER, everything=True)]
    assert sorted(states) == ["enabled", "foreign, paused", "paused", "replaced"]
    assert find_schedule(kubeflow, OWNER, "weekly").name == "weekly"
    with pytest.raises(NotFoundError, match="one of nightly, weekly"):
        find_schedule(kubeflow, OWNER, "daily")
    assert len(delete_schedules(kubeflow, OWNER, "nightly")) == 2
    assert list(current(schedules_of(kubeflow, OWNER))) == ["weekly"]


def test_what_was_replaced_can_be_deleted_alone(kfp: KfpServer, kubeflow: Kubeflow, version: Any) -> None:
    first = put(kubeflow, version).schedule
    kfp.add_run("", "nightly 1", recurring_run_id=first.id)
    second = put(kubeflow, version, cron="0 4 * * *").schedule
    with pytest.raises(UserError, match="nightly 1"):
        delete_schedules(kubeflow, OWNER, "nightly", replaced_only=True)
    for run in kfp.runs.values():
        run["state"] = "SUCCEEDED"
    assert [each.id for each in delete_schedules(kubeflow, OWNER, "nightly", replaced_only=True)] == [first.id]
    assert kfp.enabled() == [second.id]
    assert delete_schedules(kubeflow, OWNER, "nightly", replaced_only=True) == []


def test_a_schedule_whose_runs_go_on_is_paused_and_kept(kfp: KfpServer, kubeflow: Kubeflow, version: Any) -> None:
    schedule = put(kubeflow, version).schedule
    run = kfp.add_run("", "nightly 1", recurring_run_id=schedule.id)
    with pytest.raises(UserError, match="nightly 1"):
        delete_schedules(kubeflow, OWNER, "nightly")
    assert run["state"] == "PENDING"
    assert not kfp.enabled()
    delete_schedules(kubeflow, OWNER, "nightly", end_runs=True)
    assert not kfp.recurring_runs


@pytest.mark.parametrize(
    "change",
    [
        {"cron": "0 0 30 2 *"},
        {"cron": None},
        {"interval_seconds": 60},
        {"cron": None, "interval_seconds": 5},
        {"cron": None, "interval_seconds": 10**12},
        {"max_concurrency": 11},
        {"version": "latest"},
        {"name": "Nightly!"},
        {"surprise": 1},
    ],
)
def test_a_wrong_schedule_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        spec(**change)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    wishes=st.lists(st.sampled_from(["0 3 * * *", "0 4 * * *", "0 5 * * *", "paused"]), min_size=1, max_size=4),
    call=st.integers(0, 12),
    kind=st.sampled_from(["503", "cut after"]),
    data=st.data(),
)
def test_from_whatever_stop_the_next_try_comes_to_one_schedule(
    compiled: Path, wishes: list[str], call: int, kind: str, data: st.DataObject
) -> None:
    """Let Kubeflow be gone from the k-th write on; then run the last command again."""
    with kfp_server() as kfp:
        kubeflow = connect(login_of(host=kfp.url))
        version = upload(kubeflow, find_version_file(compiled, "rows", target="a100")).version
        asked = [{"enabled": False} if wish == "paused" else {"cron": wish} for wish in wishes]
        for changes in asked[:-1]:
            put(kubeflow, version, **changes)
        kfp.calls.clear()
        original = kfp.answer

        def answer(method: str, path: str, query: Any, body: Any) -> Any:
            if len(kfp.calls) == call + 1 and not kfp.faults:
                kfp.fail(method, ".*", kind, times=99)
                kfp.fail("GET" if method == "POST" else "POST", ".*", "503", times=99)
            return original(method, path, query, body)

        kfp.answer = answer  # type: ignore[method-assign]
        with suppress(DeliveryError):
            put(kubeflow, version, **asked[-1])
        assert len(kfp.enabled()) <= 1 or kfp.faults
        kfp.faults.clear()
        kfp.answer = original  # type: ignore[method-assign]
        put(kubeflow, version, **asked[-1])
        assert len(kfp.enabled()) == (0 if wishes[-1] == "paused" else 1)
        before = kfp.writes()
        assert put(kubeflow, version, **asked[-1]).outcome == "unchanged"
        assert kfp.writes() == before
