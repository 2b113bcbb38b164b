"""What becomes of the object of a run when its step is told to end, or ends badly."""

import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from stepworks.errors import AccessDeniedError, WorkloadFailedError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.runs import lifetime
from stepworks.kube.runs.adoption import DELETION_SECONDS
from stepworks.kube.runs.retry_marker import NO_RETRY_ANNOTATION
from stepworks.kube.runs.suspension import SUSPENDED_ANNOTATION
from tests.unit.kube.api_handler import Fault
from tests.unit.kube.api_server import ApiServer
from tests.unit.kube.attempts import COMPLETE, FAILED, Attempt, job_of_run, present, put_pod, set_status
from tests.waiting import wait_for


def signalled(server: ApiServer, attempt: Attempt, number: int, at: Callable[[], object]) -> None:
    def send() -> None:
        at()
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    try:
        attempt.run()
    finally:
        thread.join()
        server.wait_for_watches(0)


@pytest.mark.parametrize(("number", "error"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)])
def test_a_signal_suspends_with_one_request_and_a_retry_resumes(
    server: ApiServer, cluster: Cluster, number: int, error: type[BaseException]
) -> None:
    with pytest.raises(error):
        signalled(server, Attempt(cluster), number, lambda: server.wait_for_watches(1))
    assert present(server)["spec"]["suspend"]
    assert SUSPENDED_ANNOTATION in present(server)["metadata"]["annotations"]
    assert [call for call in server.calls if call.startswith(("patch", "delete"))] == ["patch jobs train"]
    second = Attempt(cluster)
    with second.running(server):
        assert present(server)["spec"]["suspend"] is False
        assert SUSPENDED_ANNOTATION not in present(server)["metadata"]["annotations"]
        set_status(server, COMPLETE)
    assert second.error is None


def test_one_that_somebody_else_suspended_is_not_resumed(server: ApiServer, attempt: Attempt) -> None:
    server.put(job_of_run() | {"spec": {"suspend": True}}, "jobs")
    with attempt.running(server):
        set_status(server, COMPLETE)
    assert present(server)["spec"]["suspend"]


def test_a_signal_while_it_is_made_finds_what_was_made(server: ApiServer, cluster: Cluster) -> None:
    class Slow(Attempt):
        def say(self, line: str) -> None:
            super().say(line)
            while line.startswith("Made"):  # until the signal comes, before the uid is known
                threading.Event().wait(0.05)

    attempt = Slow(cluster)
    with pytest.raises(SystemExit):
        signalled(server, attempt, signal.SIGTERM, attempt.begun.wait)
    assert present(server)["spec"]["suspend"]


def test_what_cannot_be_let_go_of_is_said(server: ApiServer, attempt: Attempt) -> None:
    put_pod(server, 3)
    server.fail("patch", Fault(403, message='User "u" cannot patch resource "jobs" in API group "batch"'))
    with attempt.running(server):
        set_status(server, FAILED)
    assert isinstance(attempt.error, WorkloadFailedError)
    assert attempt.said[-1].startswith("The Job train could not be let go of, and may still hold nodes.\n")
    assert 'verbs: ["patch"]' in attempt.said[-1]


def test_what_others_change_at_the_same_moment_is_suspended_all_the_same(server: ApiServer, attempt: Attempt) -> None:
    message = 'Operation cannot be fulfilled on jobs.batch "train": the object has been modified'
    server.fail("patch", *[Fault(409, message=message, more={"reason": "Conflict"})] * 2)
    with attempt.running(server, timeout=0.5):
        attempt._cluster.clock.sleep(1)
    assert present(server)["spec"]["suspend"]
    assert attempt.said[-1] == (
        "The Job train was suspended, so that it holds nothing. To delete it: kubectl -n team delete job train"
    )


def test_what_may_not_be_suspended_is_deleted(server: ApiServer, attempt: Attempt) -> None:
    server.denied.add(("patch", "jobs"))
    with attempt.running(server, timeout=0.5):
        attempt._cluster.clock.sleep(1)
    assert ("jobs", "train") not in server.objects
    assert attempt.said[-2].startswith("The Job train could not be suspended, and is deleted instead.\n")
    assert attempt.said[-1] == "The Job train was deleted, so that it holds nothing."


def test_what_still_tries_and_may_not_be_marked_is_deleted(server: ApiServer, attempt: Attempt) -> None:
    unstarted = {"exitCode": 128, "reason": "StartError", "finishedAt": "2026-01-01T00:00:05Z"}
    statuses = [{"name": "main", "state": {"terminated": unstarted}}]
    for name in ("train-a", "train-b"):
        put_pod(server, name=name, phase="Failed", containerStatuses=statuses)
    server.denied.add(("patch", "jobs"))
    with attempt.running(server):
        set_status(server)  # it goes on trying
    assert isinstance(attempt.error, WorkloadFailedError)
    assert (attempt.error.cause, attempt.error.permanent) == ("command-missing", True)
    assert ("jobs", "train") not in server.objects
    assert attempt.said[-1] == "The Job train was deleted, so that it holds nothing."


@pytest.mark.parametrize(
    ("on_failure", "denied", "named"),
    [("suspend", ["patch", "delete"], "patch"), ("delete", ["delete"], "delete")],
)
def test_nothing_is_made_that_may_not_be_let_go_of(
    server: ApiServer, attempt: Attempt, on_failure: str, denied: list[str], named: str
) -> None:
    server.denied = {(verb, "jobs") for verb in denied}
    with pytest.raises(AccessDeniedError, match=f"refused to {named} the Job train") as caught:
        attempt.run(on_failure=on_failure)
    assert f'verbs: ["{named}"]' in caught.value.what_to_do
    assert server.objects == {}


def test_a_queue_that_the_cluster_put_it_in_counts(server: ApiServer, attempt: Attempt) -> None:
    server.put(job_of_run({"kueue.x-k8s.io/queue-name": "default"}), "jobs")
    with attempt.running(server, timeout=0.5):
        attempt._cluster.clock.sleep(1)
    assert ("jobs", "train") not in server.objects


def test_what_an_earlier_attempt_suspends_late_goes_on(server: ApiServer, attempt: Attempt) -> None:
    server.put(job_of_run(), "jobs")
    with attempt.running(server):
        marks = {SUSPENDED_ANNOTATION: "true"}
        suspended = {**present(server), "spec": {"suspend": True}}
        server.put({**suspended, "metadata": {**suspended["metadata"], "annotations": marks}}, "jobs")
        wait_for("it goes on", lambda: present(server)["spec"]["suspend"] is False)
        set_status(server, COMPLETE)
    assert attempt.error is None
    assert "ended late; it goes on" in attempt.said[-1]


def test_what_an_earlier_attempt_marks_late_is_not_tried_on(server: ApiServer, attempt: Attempt) -> None:
    server.put(job_of_run(), "jobs")
    with attempt.running(server):
        marks = {SUSPENDED_ANNOTATION: "true", NO_RETRY_ANNOTATION: "its image is missing"}
        server.put({**present(server), "metadata": {**present(server)["metadata"], "annotations": marks}}, "jobs")
    assert isinstance(attempt.error, WorkloadFailedError)
    assert attempt.error.problem == "its image is missing"


def test_an_error_of_the_diagnosis_leaves_nothing_held(
    server: ApiServer, attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(lifetime, "diagnose", fail)
    with attempt.running(server, timeout=0.5):
        attempt._cluster.clock.sleep(1)
    assert isinstance(attempt.error, ZeroDivisionError)
    assert present(server)["spec"]["suspend"]


def test_after_a_signal_it_is_let_go_of_once(server: ApiServer, attempt: Attempt) -> None:
    server.fail("patch", *[Fault(503)] * 1000)
    with pytest.raises(KeyboardInterrupt):
        signalled(server, attempt, signal.SIGINT, lambda: server.wait_for_watches(1))
    assert len([line for line in attempt.said if "could not be let go of" in line]) == 1


def test_one_that_is_not_deleted_is_not_waited_for_as_long_as_its_successor(
    server: ApiServer, attempt: Attempt
) -> None:
    server.put(job_of_run(deletionTimestamp="2026-01-01T00:00:00Z", finalizers=["example.com/a"]), "jobs")
    with attempt.running(server, timeout=90_000):
        attempt._cluster.clock.sleep(DELETION_SECONDS + 1)
    assert isinstance(attempt.error, WorkloadFailedError)
    assert attempt.error.problem.startswith("The Job train was not gone after 600 seconds: ")
    assert attempt.error.problem.endswith("it is not deleted before its finalizers are gone: example.com/a")


def test_what_is_to_come_before_it_is_made_comes_before_each_making_only(server: ApiServer, cluster: Cluster) -> None:
    first, second, third = Attempt(cluster), Attempt(cluster), Attempt(cluster)
    seen: list[bool] = []

    def note() -> None:
        seen.append(("jobs", "train") in server.objects)

    put_pod(server, phase="Failed", reason="Evicted", message="The node was low on resource: memory.")
    with first.running(server, before_making=note):
        set_status(server, FAILED)
    with second.running(server, before_making=note):
        set_status(server, COMPLETE)
    third.run(before_making=note)
    assert seen == [False, False]


def test_a_signal_whose_exception_python_dropped_ends_the_wait_all_the_same(
    server: ApiServer, attempt: Attempt
) -> None:
    def drop() -> None:
        with suppress(SystemExit):  # as in a finalizer
            os.kill(os.getpid(), signal.SIGTERM)
            threading.Event().wait(30)

    with pytest.raises(SystemExit):
        attempt.run(before_making=drop)
    assert present(server)["spec"]["suspend"]
