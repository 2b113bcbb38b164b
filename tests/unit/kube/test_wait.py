"""Waits against an API server that keeps objects and fails as it is told to."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from stepworks.errors import (
    AccessDeniedError,
    ConfigurationError,
    DataError,
    NotFoundError,
    ObjectDeletedError,
    ObjectFailedError,
    WaitTimeoutError,
)
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.references import Reference
from stepworks.kube.kinds.judgement import Pending
from stepworks.kube.kinds.manifests import Manifest, labels_of
from stepworks.kube.kinds.rules import GONE, JOB_COMPLETE
from stepworks.kube.waiting.wait import wait, wait_all
from tests.unit.kube.api_handler import Fault
from tests.unit.kube.api_server import ApiServer
from tests.unit.kube.conftest import JumpingClock
from tests.waiting import wait_for

TRAIN = Reference("batch/v1", "Job", "train")


def job(name: str = "train", condition: str = "", **metadata: Any) -> Manifest:
    conditions = [{"type": condition, "status": "True", "reason": "Because"}] if condition else []
    return {"metadata": {"name": name, **metadata}, "status": {"conditions": conditions}}


@dataclass
class Answer:
    manifest: Manifest | None = None
    error: BaseException | None = None


@contextmanager
def waiting(server: ApiServer, cluster: Cluster, **changed: Any) -> Iterator[Answer]:
    """A wait in a thread, whose watch is open when the block begins, and which has ended when it ends."""
    answer = Answer()

    def run() -> None:
        try:
            answer.manifest = wait(cluster, TRAIN, **({"until": JOB_COMPLETE, "timeout": 1000} | changed))
        except BaseException as error:  # noqa: BLE001  # for the test to look at
            answer.error = error

    thread = threading.Thread(target=run)
    thread.start()
    server.wait_for_watches(1)
    yield answer
    thread.join(20)
    assert not thread.is_alive()
    server.wait_for_watches(0)


def test_what_is_complete_already_is_returned(server: ApiServer, cluster: Cluster) -> None:
    done = server.put(job(condition="Complete"), "jobs")
    assert wait(cluster, TRAIN, until=JOB_COMPLETE, timeout=5)["metadata"] == done["metadata"]


def test_what_completes_is_returned_as_it_was_then(server: ApiServer, cluster: Cluster) -> None:
    server.put(job(), "jobs")
    with waiting(server, cluster) as answer:
        done = server.put(job(condition="Complete"), "jobs")
    assert answer.manifest == done


def test_a_failure_is_raised_with_the_object(server: ApiServer, cluster: Cluster) -> None:
    server.put(job(), "jobs")
    with waiting(server, cluster) as answer:
        failed = server.put(job(condition="Failed"), "jobs")
    assert isinstance(answer.error, ObjectFailedError)
    assert answer.error.manifest == failed
    assert answer.error.received == "Failed (Because)"


@pytest.mark.parametrize("cleanly", [True, False])
def test_a_watch_that_ends_is_taken_up_where_it_ended(server: ApiServer, cluster: Cluster, cleanly: bool) -> None:
    server.put(job(), "jobs")
    with waiting(server, cluster) as answer:
        version = server.put(job(labels={"a": "b"}), "jobs")["metadata"]["resourceVersion"]
        server.end_watches(cleanly=cleanly)
        while server.calls.count("watch jobs") < 2:
            time.sleep(0.01)
        server.put(job(condition="Complete"), "jobs")
    assert answer.error is None
    assert server.calls.count("list jobs") == 1
    assert server.queries[-1]["resourceVersion"] == version


def test_a_bookmark_moves_the_place_from_which_a_watch_goes_on(server: ApiServer, cluster: Cluster) -> None:
    server.put(job(), "jobs")
    with waiting(server, cluster) as answer:
        other = server.put(job("other"), "jobs")
        server.bookmark()
        server.end_watches(cleanly=False)
        while server.calls.count("watch jobs") < 2:
            time.sleep(0.01)
        server.put(job(condition="Complete"), "jobs")
    assert answer.error is None
    assert server.queries[-1]["resourceVersion"] == other["metadata"]["resourceVersion"]


@pytest.mark.parametrize("as_event", [True, False])
def test_what_happened_before_a_relist_is_noticed(server: ApiServer, cluster: Cluster, as_event: bool) -> None:
    server.put(job(), "jobs")
    with waiting(server, cluster) as answer:
        server.miss(lambda: server.put(job(condition="Complete"), "jobs"), as_event=as_event)
    assert answer.manifest is not None
    assert server.calls[:4] == ["list jobs", "watch jobs", "watch jobs", "list jobs"]


def test_a_deletion_before_a_relist_is_noticed(server: ApiServer, cluster: Cluster) -> None:
    server.put(job(), "jobs")
    with waiting(server, cluster) as answer:
        server.miss(lambda: server.remove("jobs", "train"))
    assert isinstance(answer.error, ObjectDeletedError)


def test_an_object_in_the_place_of_another_is_told(server: ApiServer, cluster: Cluster) -> None:
    server.put(job(), "jobs")

    def replace() -> None:
        server.remove("jobs", "train")
        server.put(job(condition="Complete"), "jobs")

    with waiting(server, cluster) as answer:
        server.miss(replace)
    assert isinstance(answer.error, ObjectDeletedError)


def test_only_the_object_with_the_uid_counts(server: ApiServer, cluster: Cluster) -> None:
    server.put(job(condition="Complete"), "jobs")
    with pytest.raises(ObjectDeletedError, match="was deleted") as caught:
        wait(cluster, TRAIN, until=JOB_COMPLETE, timeout=5, uid="another")
    assert "in the place of the uid another" in caught.value.received


def test_a_deletion_is_told(server: ApiServer, cluster: Cluster) -> None:
    server.put(job(), "jobs")
    with waiting(server, cluster) as answer:
        server.remove("jobs", "train")
    assert isinstance(answer.error, ObjectDeletedError)
    assert "no condition Complete yet" in answer.error.received


def test_what_is_being_deleted_is_not_waited_for(server: ApiServer, cluster: Cluster) -> None:
    server.put(job(), "jobs")
    with waiting(server, cluster) as answer:
        server.put(job(deletionTimestamp="2026-01-01T00:00:00Z"), "jobs")
    assert isinstance(answer.error, ObjectDeletedError)


def test_what_completed_before_it_was_deleted_has_succeeded(server: ApiServer, cluster: Cluster) -> None:
    server.put(job(), "jobs")
    with waiting(server, cluster) as answer:
        server.put(job(condition="Complete", deletionTimestamp="2026-01-01T00:00:00Z"), "jobs")
    assert answer.error is None


def test_what_is_not_there_is_told(server: ApiServer, cluster: Cluster) -> None:
    with pytest.raises(NotFoundError, match="There is no Job train") as caught:
        wait(cluster, TRAIN, until=JOB_COMPLETE, timeout=5)
    assert caught.value.received == "no Job of that name in the namespace team"


def test_gone_is_waited_for(server: ApiServer, cluster: Cluster) -> None:
    server.put(job(deletionTimestamp="2026-01-01T00:00:00Z", finalizers=["example.com/a"]), "jobs")
    with waiting(server, cluster, until=GONE) as answer:
        server.remove("jobs", "train")
    assert answer.error is None
    assert wait(cluster, TRAIN, until=GONE, timeout=5) == {}


def test_the_deadline_tells_the_last_state(server: ApiServer, cluster: Cluster, clock: JumpingClock) -> None:
    server.put(job(), "jobs")
    with waiting(server, cluster) as answer:
        clock.time += 1001
    assert isinstance(answer.error, WaitTimeoutError)
    assert answer.error.problem == "The Job train was not complete after 1000 seconds"
    assert answer.error.received == "no condition Complete yet"
    assert answer.error.what_to_do.endswith("kubectl -n team describe job train")
    assert answer.error.manifest is not None


def test_an_api_server_that_is_away_is_waited_for(server: ApiServer, cluster: Cluster, clock: JumpingClock) -> None:
    server.put(job(), "jobs")
    with waiting(server, cluster) as answer:
        server.fail("watch", *[Fault(503), Fault(500), Fault(), Fault(429, headers={"Retry-After": "7"})])
        server.end_watches(cleanly=False)
        while server.calls.count("watch jobs") < 6:
            time.sleep(0.01)
        server.put(job(condition="Complete"), "jobs")
    assert answer.error is None
    assert 7.0 in clock.slept


def test_an_api_server_that_stays_away_ends_the_wait(server: ApiServer, cluster: Cluster) -> None:
    server.put(job(), "jobs")
    with waiting(server, cluster) as answer:
        server.fail("watch", *[Fault(503)] * 1000)
        server.fail("get", *[Fault(503)] * 1000)
        server.end_watches(cleanly=False)
    assert isinstance(answer.error, WaitTimeoutError)
    assert "1000 seconds; the API server did not answer at the end (ApiException)" in answer.error.problem


def test_what_completed_unseen_has_succeeded(server: ApiServer, cluster: Cluster, clock: JumpingClock) -> None:
    server.put(job(), "jobs")
    with waiting(server, cluster) as answer:
        server.silence_watches()
        done = server.put(job(condition="Complete"), "jobs")
        clock.time += 1001
    assert answer.error is None
    assert answer.manifest == done


def test_what_was_deleted_unseen_is_told(server: ApiServer, cluster: Cluster, clock: JumpingClock) -> None:
    server.put(job(), "jobs")
    with waiting(server, cluster) as answer:
        server.silence_watches()
        server.remove("jobs", "train")
        clock.time += 1001
    assert isinstance(answer.error, ObjectDeletedError)


def test_the_time_begins_when_an_object_is_no_longer_held(
    server: ApiServer, cluster: Cluster, clock: JumpingClock
) -> None:
    server.put(job(labels={"held": "yes"}), "jobs")
    checks: list[Manifest] = []

    def check(manifest: Manifest, pending: Pending) -> None:
        checks.append(manifest)

    with waiting(server, cluster, held=lambda each: labels_of(each).get("held"), while_waiting=check) as answer:
        wait_for("a check", lambda: len(checks) == 1)
        clock.time += 5000
        wait_for("another check", lambda: len(checks) == 2)
        server.put(job(), "jobs")
        wait_for("it is seen to be let go", lambda: len(checks) == 3)
        clock.time += 999
        wait_for("its time is not over", lambda: len(checks) == 4)
        clock.time += 2
    assert isinstance(answer.error, WaitTimeoutError)
    assert clock.now() >= 6001


@pytest.mark.parametrize("verb", ["list", "watch"])
def test_a_missing_permission_ends_the_wait_at_once(server: ApiServer, cluster: Cluster, verb: str) -> None:
    server.put(job(), "jobs")
    server.forbid(verb, "jobs")
    with pytest.raises(AccessDeniedError) as caught:
        wait(cluster, TRAIN, until=JOB_COMPLETE, timeout=1000)
    assert 'verbs: ["get", "list", "watch"]' in caught.value.what_to_do
    assert len(server.calls) == {"list": 1, "watch": 2}[verb]


def test_what_a_signals_handler_raises_ends_the_wait(server: ApiServer, cluster: Cluster) -> None:
    class Terminated(BaseException):
        pass

    def handler(number: int, frame: object) -> None:
        raise Terminated

    server.put(job(), "jobs")
    previous = signal.signal(signal.SIGUSR1, handler)

    def interrupt() -> None:
        server.wait_for_watches(1)
        signal.raise_signal(signal.SIGUSR1)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(Terminated):
            wait(cluster, TRAIN, until=JOB_COMPLETE, timeout=1000)
    finally:
        signal.signal(signal.SIGUSR1, previous)
        thread.join()
    server.wait_for_watches(0)


def test_the_hook_is_called(server: ApiServer, cluster: Cluster, clock: JumpingClock) -> None:
    server.put(job(), "jobs")
    checks: list[str] = []

    def check(manifest: Manifest, pending: Pending) -> None:
        checks.append(pending.reason)

    with waiting(server, cluster, while_waiting=check) as answer:
        wait_for("a check", lambda: len(checks) == 1)
        clock.time += 16
        wait_for("another check", lambda: len(checks) == 2)
        server.put(job(condition="Suspended"), "jobs")
        wait_for("a third check", lambda: len(checks) == 3)
        server.put(job(condition="Complete"), "jobs")
    assert answer.error is None
    assert checks == ["no condition Complete yet", "no condition Complete yet", "Suspended (Because)"]


@pytest.mark.parametrize("error", [DataError("hopeless"), ZeroDivisionError(), KeyboardInterrupt()])
def test_what_a_hook_raises_ends_the_wait(server: ApiServer, cluster: Cluster, error: BaseException) -> None:
    server.put(job(), "jobs")

    def check(manifest: Manifest, pending: Pending) -> None:
        raise error

    with pytest.raises(type(error)):
        wait(cluster, TRAIN, until=JOB_COMPLETE, timeout=1000, while_waiting=check)
    server.wait_for_watches(0)


def test_many_objects_take_one_watch_and_come_as_they_end(server: ApiServer, cluster: Cluster) -> None:
    references = [Reference("batch/v1", "Job", f"job-{number}") for number in range(200)]
    for reference in references:
        server.put(job(reference.name), "jobs")
    outcomes = wait_all(cluster, [*references, TRAIN], until=JOB_COMPLETE, timeout=1000)
    first = next(outcomes)
    assert first.reference == TRAIN
    assert isinstance(first.error, NotFoundError)
    server.put(job("job-7", "Failed"), "jobs")
    second = next(outcomes)
    assert second.reference == references[7]
    assert isinstance(second.error, ObjectFailedError)
    for reference in references[::-1]:
        server.put(job(reference.name, "Complete"), "jobs")
    rest = list(outcomes)
    assert [each.error for each in rest] == [None] * 199
    assert server.calls == ["list jobs", "watch jobs"]
    server.wait_for_watches(0)


def test_a_name_that_no_job_can_have_is_refused_before_anything_is_sent(server: ApiServer, cluster: Cluster) -> None:
    with pytest.raises(ConfigurationError, match="cannot be the name of a Job"):
        wait(cluster, Reference("batch/v1", "Job", "Train_1"), until=JOB_COMPLETE, timeout=5)
    assert server.headers == {}
