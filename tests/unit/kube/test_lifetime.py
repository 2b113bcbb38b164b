"""The object of a run from its making to its end, against an API server that keeps state and fails as it is told."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from stepworks.errors import AlreadyExistsError, ConfigurationError, ObjectDeletedError, WorkloadFailedError
from stepworks.kube import lifetime
from stepworks.kube.adoption import DELETION_SECONDS
from stepworks.kube.cluster import Cluster
from stepworks.kube.lifetime import run_to_end
from stepworks.kube.manifests import Manifest
from stepworks.kube.retry_marker import NO_RETRY_ANNOTATION
from stepworks.kube.rules import JOB_COMPLETE
from stepworks.kube.runs import RUN_LABEL
from stepworks.kube.suspension import SUSPENDED_ANNOTATION
from tests.unit.kube.api_handler import Fault
from tests.unit.kube.api_server import ApiServer
from tests.waiting import wait_for

RUN = "0f8d5a52"
FAILED = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "it failed"}
COMPLETE = {"type": "Complete", "status": "True"}


def job(**metadata: Any) -> Manifest:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "train", **metadata},
        "spec": {"template": {"spec": {"containers": [{"name": "main", "image": "registry.example.com/train:1"}]}}},
    }


def present(server: ApiServer) -> Manifest:
    return server.objects["jobs", "train"]


def set_status(server: ApiServer, *conditions: dict[str, Any]) -> None:
    server.put({**present(server), "status": {"conditions": list(conditions)}}, "jobs")


def put_pod(server: ApiServer, exit_code: int = 0, *, name: str = "train-a", **status: Any) -> None:
    ended = {"exitCode": exit_code, "reason": "Error", "finishedAt": "2026-01-01T00:00:05Z"}
    containers = [{"name": "main", "state": {"terminated": ended}}] if exit_code else []
    server.put(
        {
            "metadata": {
                "name": name,
                "labels": {"batch.kubernetes.io/job-name": "train"},
                "creationTimestamp": "2026-01-01T00:00:00Z",
            },
            "status": {"phase": "Failed" if exit_code else "Pending", "containerStatuses": containers, **status},
        },
        "pods",
    )


class Attempt:
    """One attempt of a step."""

    def __init__(self, cluster: Cluster) -> None:
        self.said: list[str] = []
        self.begun = threading.Event()
        self.error: BaseException | None = None
        self.manifest: Manifest = {}
        self._cluster = cluster

    def say(self, line: str) -> None:
        self.said.append(line)
        if line.startswith(("Made", "Adopted", "Waiting for")):
            self.begun.set()

    def run(self, **changed: Any) -> Manifest:
        settings = {"run": RUN, "until": JOB_COMPLETE, "timeout": 1000, "on_failure": "suspend"} | changed
        manifest = settings.pop("manifest", job())
        self.manifest = run_to_end(self._cluster, manifest, say=self.say, **settings)
        return self.manifest

    @contextmanager
    def running(self, server: ApiServer, **changed: Any) -> Iterator[None]:
        """Run it in a thread, whose watch is open when the block begins, and which has ended when it ends."""

        def work() -> None:
            try:
                self.run(**changed)
            except BaseException as error:  # noqa: BLE001  # for the test to look at
                self.error = error

        watched = server.open_watches
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        assert self.begun.wait(20)
        server.wait_for_watches(watched + 1)
        yield
        thread.join(20)
        assert not thread.is_alive()
        server.wait_for_watches(watched)


@pytest.fixture
def attempt(cluster: Cluster) -> Attempt:
    return Attempt(cluster)


def test_what_is_made_is_labelled_and_waited_for(server: ApiServer, attempt: Attempt) -> None:
    with attempt.running(server):
        made = present(server)
        set_status(server, COMPLETE)
    assert attempt.error is None
    assert attempt.manifest["metadata"]["uid"] == made["metadata"]["uid"]
    assert made["metadata"]["labels"] == {RUN_LABEL: RUN}
    assert "ownerReferences" not in made["metadata"]
    assert not [call for call in server.calls if call.startswith(("patch", "delete"))]
    assert attempt.said[0] == "Made the Job train in the namespace team."


def test_the_workflow_of_the_run_owns_what_is_made(server: ApiServer, attempt: Attempt) -> None:
    server.put({"metadata": {"name": "flow", "labels": {"pipeline/runid": RUN}}}, "workflows")
    with attempt.running(server):
        owners = present(server)["metadata"]["ownerReferences"]
        set_status(server, COMPLETE)
    uid = server.objects["workflows", "flow"]["metadata"]["uid"]
    assert owners == [{"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": "flow", "uid": uid}]


def test_without_leave_to_read_workflows_it_has_no_owner(server: ApiServer, attempt: Attempt) -> None:
    server.forbid("list", "workflows", group="argoproj.io")
    with attempt.running(server):
        assert "ownerReferences" not in present(server)["metadata"]
        set_status(server, COMPLETE)
    assert attempt.error is None


def test_a_retry_adopts_what_is_running_and_what_is_complete(server: ApiServer, cluster: Cluster) -> None:
    second, third = Attempt(cluster), Attempt(cluster)
    server.put(job(labels={RUN_LABEL: RUN}), "jobs")  # what an attempt left that SIGKILL ended
    with second.running(server):
        set_status(server, COMPLETE)
    assert second.said[0] == "Adopted the Job train that an earlier attempt made."
    third.run()
    assert third.manifest == second.manifest
    assert not [call for call in server.calls if call.startswith("create")]


def test_one_of_another_manifest_is_told_and_adopted(server: ApiServer, cluster: Cluster) -> None:
    first, second = Attempt(cluster), Attempt(cluster)
    with first.running(server):
        set_status(server, COMPLETE)
    second.run(manifest=job(annotations={"changed": "yes"}))
    assert second.said[1] == "The Job train was made from another manifest than this step has now; it stays as it is."


@pytest.mark.parametrize("labels", [{}, {RUN_LABEL: "another"}])
def test_an_object_of_somebody_else_is_refused_and_left_alone(
    server: ApiServer, attempt: Attempt, labels: dict[str, str]
) -> None:
    server.put(job(labels=labels), "jobs")
    before = present(server)
    with pytest.raises(AlreadyExistsError, match="The Job train is there already"):
        attempt.run()
    assert present(server) == before
    assert not [call for call in server.calls if call.startswith(("create", "patch", "delete"))]


@pytest.mark.parametrize("run", ["", "a run", "x" * 64])
def test_a_run_that_can_be_no_label_is_refused_before_anything_is_sent(
    server: ApiServer, attempt: Attempt, run: str
) -> None:
    with pytest.raises(ConfigurationError, match="id of the run"):
        attempt.run(run=run)
    assert server.calls == []


def test_one_that_is_being_deleted_is_waited_for(server: ApiServer, attempt: Attempt) -> None:
    server.put(job(labels={RUN_LABEL: RUN}, deletionTimestamp="2026-01-01T00:00:00Z"), "jobs")
    old = present(server)["metadata"]["uid"]
    with attempt.running(server):
        server.remove("jobs", "train")
        server.wait_for_watches(0)
        server.wait_for_watches(1)
        set_status(server, COMPLETE)
    assert attempt.error is None
    assert attempt.manifest["metadata"]["uid"] != old
    assert attempt.said[0] == "Waiting for the Job train of an earlier attempt to be deleted."


def test_a_failed_program_is_marked_and_not_tried_again(server: ApiServer, cluster: Cluster) -> None:
    first, second = Attempt(cluster), Attempt(cluster)
    put_pod(server, 3)
    server.logs["train-a", "main"] = "loading\nTraceback: no such column\n"
    with first.running(server):
        set_status(server, FAILED)
    assert isinstance(first.error, WorkloadFailedError)
    assert (first.error.cause, first.error.pod, first.error.container_exit_code) == ("program-failed", "train-a", 3)
    assert first.error.log_tail == "loading\nTraceback: no such column"
    marks = present(server)["metadata"]["annotations"]
    assert marks[NO_RETRY_ANNOTATION] == first.error.problem
    calls = len(server.calls)
    with pytest.raises(WorkloadFailedError) as caught:
        second.run()
    assert (caught.value.problem, caught.value.cause) == (first.error.problem, "program-failed")
    assert str(first.error) in str(caught.value)
    assert "kubectl -n team delete job train" in str(caught.value)
    assert not [call for call in server.calls[calls:] if call.startswith(("create", "delete", "watch", "patch"))]


def test_what_failed_for_a_reason_that_passes_is_made_anew(server: ApiServer, cluster: Cluster) -> None:
    first, second = Attempt(cluster), Attempt(cluster)
    put_pod(server, phase="Failed", reason="Evicted", message="The node was low on resource: memory.")
    with first.running(server):
        set_status(server, FAILED)
    assert isinstance(first.error, WorkloadFailedError)
    assert (first.error.cause, first.error.permanent) == ("evicted", False)
    old = present(server)["metadata"]
    assert NO_RETRY_ANNOTATION not in old["annotations"]
    with second.running(server):
        assert present(server)["metadata"]["uid"] != old["uid"]
        set_status(server, COMPLETE)
    assert second.error is None
    assert "This may pass, so it is made anew." in second.said[0]


def test_a_failure_that_nobody_saw_is_judged_by_the_next_attempt(server: ApiServer, attempt: Attempt) -> None:
    put_pod(server, 3)
    server.put(job(labels={RUN_LABEL: RUN}), "jobs")
    set_status(server, FAILED)
    with pytest.raises(WorkloadFailedError, match="ended with exit code 3"):
        attempt.run()
    assert NO_RETRY_ANNOTATION in present(server)["metadata"]["annotations"]


@pytest.mark.parametrize(("how", "left"), [("suspend", True), ("delete", False)])
def test_a_timeout_leaves_nothing_held(server: ApiServer, attempt: Attempt, how: str, left: bool) -> None:
    put_pod(server)
    with attempt.running(server, timeout=0.5, on_failure=how):
        attempt._cluster.clock.sleep(1)
    assert isinstance(attempt.error, WorkloadFailedError)
    assert attempt.error.problem.startswith("The Job train was not complete after 0.5 seconds: ")
    assert (("jobs", "train") in server.objects) == left
    assert not left or present(server)["spec"]["suspend"]


def test_one_in_a_queue_is_deleted_since_the_queue_would_resume_it(server: ApiServer, attempt: Attempt) -> None:
    with attempt.running(server, timeout=0.5, manifest=job(labels={"kueue.x-k8s.io/queue-name": "gpus"})):
        attempt._cluster.clock.sleep(1)
    assert ("jobs", "train") not in server.objects


def test_one_that_somebody_deletes_is_an_error_and_its_successor_is_left_alone(
    server: ApiServer, attempt: Attempt
) -> None:
    with attempt.running(server):
        server.remove("jobs", "train")
        server.put(job(), "jobs")
    assert isinstance(attempt.error, ObjectDeletedError)
    assert "suspend" not in present(server)["spec"]


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
    server.put(job(labels={RUN_LABEL: RUN}) | {"spec": {"suspend": True}}, "jobs")
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
    assert attempt.said[-1] == "The Job train was suspended, so that it holds nothing."


def test_what_may_not_be_suspended_is_deleted(server: ApiServer, attempt: Attempt) -> None:
    server.denied.add(("patch", "jobs"))
    with attempt.running(server, timeout=0.5):
        attempt._cluster.clock.sleep(1)
    assert ("jobs", "train") not in server.objects
    assert attempt.said[-2].startswith("The Job train could not be suspended, and is deleted instead.\n")
    assert attempt.said[-1] == "The Job train was deleted, so that it holds nothing."


def test_a_queue_that_the_cluster_put_it_in_counts(server: ApiServer, attempt: Attempt) -> None:
    server.put(job(labels={RUN_LABEL: RUN, "kueue.x-k8s.io/queue-name": "default"}), "jobs")
    with attempt.running(server, timeout=0.5):
        attempt._cluster.clock.sleep(1)
    assert ("jobs", "train") not in server.objects


def test_what_an_earlier_attempt_suspends_late_goes_on(server: ApiServer, attempt: Attempt) -> None:
    server.put(job(labels={RUN_LABEL: RUN}), "jobs")
    with attempt.running(server):
        marks = {SUSPENDED_ANNOTATION: "true"}
        suspended = {**present(server), "spec": {"suspend": True}}
        server.put({**suspended, "metadata": {**suspended["metadata"], "annotations": marks}}, "jobs")
        wait_for("it goes on", lambda: present(server)["spec"]["suspend"] is False)
        set_status(server, COMPLETE)
    assert attempt.error is None
    assert "ended late; it goes on" in attempt.said[-1]


def test_what_an_earlier_attempt_marks_late_is_not_tried_on(server: ApiServer, attempt: Attempt) -> None:
    server.put(job(labels={RUN_LABEL: RUN}), "jobs")
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
    server.put(
        job(labels={RUN_LABEL: RUN}, deletionTimestamp="2026-01-01T00:00:00Z", finalizers=["example.com/a"]), "jobs"
    )
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
