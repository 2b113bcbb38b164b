"""The object of a run from its making to its end, against an API server that keeps state and fails as it is told."""

import pytest

from stepworks.errors import AlreadyExistsError, ConfigurationError, ObjectDeletedError, WorkloadFailedError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.runs.belonging import RUN_LABEL
from stepworks.kube.runs.retry_marker import NO_RETRY_ANNOTATION
from tests.unit.kube.api_server import ApiServer
from tests.unit.kube.attempts import COMPLETE, FAILED, RUN, Attempt, job, job_of_run, present, put_pod, set_status


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
    server.put(job_of_run(), "jobs")  # what an attempt left that SIGKILL ended
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


@pytest.mark.parametrize("labels", [{}, {RUN_LABEL: "another"}, {RUN_LABEL: RUN}])
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
    server.put(job_of_run(deletionTimestamp="2026-01-01T00:00:00Z"), "jobs")
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
    server.put(job_of_run(), "jobs")
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
