"""Diagnoses of objects in an API server that keeps state, forbids and fails as it is told to."""

from typing import Any

import pytest

from stepworks.errors import ObjectFailedError, WaitTimeoutError, WorkloadFailedError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.references import Reference
from stepworks.kube.diagnosis.diagnose import diagnose
from stepworks.kube.diagnosis.obstacle_check import GRACE_SECONDS, ObstacleCheck
from stepworks.kube.kinds.judgement import Pending
from stepworks.kube.kinds.manifests import Manifest
from tests.unit.kube.api_handler import Fault
from tests.unit.kube.api_server import ApiServer
from tests.unit.kube.conftest import JumpingClock

TRAIN = Reference("batch/v1", "Job", "train")
FAILED = ObjectFailedError("The Job train failed", received="Failed (BackoffLimitExceeded): it failed")
SCHEDULER = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. no new claims to deallocate"
UNSCHEDULED = {
    "phase": "Pending",
    "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": SCHEDULER}],
}


def put_job(server: ApiServer, failed: bool = True, **status: Any) -> Manifest:
    condition = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "it failed"}
    return server.put(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "train"},
            "spec": {"parallelism": 2, "completions": 2},
            "status": {"active": 2, "conditions": [condition] if failed else [], **status},
        },
        "jobs",
    )


def put_pod(server: ApiServer, name: str, rank: int, status: Manifest, **spec: Any) -> None:
    labels = {"batch.kubernetes.io/job-name": "train", "batch.kubernetes.io/job-completion-index": str(rank)}
    metadata = {"name": name, "labels": labels, "creationTimestamp": "2026-01-01T10:00:00Z"}
    server.put({"metadata": metadata, "spec": spec, "status": status}, "pods")


def put_event(server: ApiServer, about: Manifest, reason: str, message: str, at: str, **more: Any) -> None:
    involved = {"kind": about.get("kind", "Pod"), "name": about["metadata"]["name"], "uid": about["metadata"]["uid"]}
    event = {"metadata": {"name": f"{reason}-{at}"}, "involvedObject": involved, "reason": reason, "message": message}
    server.put({**event, "lastTimestamp": f"2026-01-01T{at}Z", "type": "Warning", **more}, "events")


def ended(code: int, at: str) -> Manifest:
    terminated = {"exitCode": code, "reason": "Error", "finishedAt": f"2026-01-01T{at}Z"}
    return {"phase": "Failed", "containerStatuses": [{"name": "main", "state": {"terminated": terminated}}]}


PAGE = """\
The Job train failed: the container main of the pod train-1-x (index 1) ended with exit code 3

Object:
  Job train: Failed (BackoffLimitExceeded): it failed

Pods (2 Failed):
  train-1-x (index 1): Failed on the node gpu-2; main ended with exit code 3 (Error)
  train-0-x (index 0): Failed on the node gpu-1; main ended with exit code 1 (Error)

Events:
  10:00:06 Job train: BackoffLimitExceeded: Job has reached the specified backoff limit

Last lines of the log of the pod train-1-x, container main:
  | step 40
  | RuntimeError: *** is not a token for https://me:***@registry.example.com

Cause: program-failed. Another attempt would end the same way.
What to do: Correct the program or its arguments; see the last lines of its log above."""


def test_a_page_says_who_failed_first_and_ends_with_what_to_do(server: ApiServer, cluster: Cluster) -> None:
    job = put_job(server)
    secret = [{"name": "API_TOKEN", "value": "hunter2-hunter2"}]
    put_pod(server, "train-0-x", 0, ended(1, "10:00:05"), nodeName="gpu-1")
    put_pod(server, "train-1-x", 1, ended(3, "10:00:04"), nodeName="gpu-2", containers=[{"env": secret}])
    put_event(server, job, "BackoffLimitExceeded", "Job has reached the specified backoff limit", "10:00:06")
    log = "step 40\nRuntimeError: hunter2-hunter2 is not a token for https://me:word@registry.example.com\n"
    server.logs["train-1-x", "main"] = log
    error = diagnose(cluster, TRAIN, FAILED).error()
    assert str(error) == PAGE
    assert error.problem == PAGE.partition("\n")[0]
    assert (error.kind, error.name, error.cause, error.permanent) == ("Job", "train", "program-failed", True)
    assert (error.pod, error.container_exit_code, error.scheduler_message) == ("train-1-x", 3, "")
    assert error.conditions == ("Failed (BackoffLimitExceeded): it failed",)
    assert error.events == ("10:00:06 Job train: BackoffLimitExceeded: Job has reached the specified backoff limit",)
    assert error.log_tail.startswith("step 40\n")
    assert error.what_to_do == PAGE.rpartition("What to do: ")[2]


def test_no_line_is_wider_than_a_hundred_columns(server: ApiServer, cluster: Cluster) -> None:
    job = put_job(server, failed=False, active=0)
    message = f'pods "x" is forbidden: exceeded quota: gpus, {"requested: " * 30}'
    put_event(server, job, "FailedCreate", message, "10:00:00")
    assert max(map(len, str(diagnose(cluster, TRAIN)).splitlines())) <= 100


def test_of_two_pods_that_run_the_page_is_about_the_one_that_is_not_ready(server: ApiServer, cluster: Cluster) -> None:
    put_job(server, failed=False)
    state = {"containerStatuses": [{"name": "main", "state": {"running": {}}}]}
    for name, number, ready in (("train-0-x", 0, "True"), ("train-1-x", 1, "False")):
        put_pod(server, name, number, {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}], **state})
        pod = {"metadata": {"name": name, "uid": server.objects["pods", name]["metadata"]["uid"]}}
        put_event(server, pod, "Unhealthy", f"Readiness probe failed: {name} says 503", "10:00:00")
        server.logs[name, "main"] = f"{name} loads\n"
    error = diagnose(cluster, TRAIN, WaitTimeoutError("The Job train is not complete")).error()
    assert error.problem.endswith("the pod train-1-x runs and is not ready: Readiness probe failed: train-1-x says 503")
    assert (error.cause, error.log_tail) == ("not-ready", "train-1-x loads")
    assert "train-0-x says" not in str(error), "it has been ready since"


def test_a_container_that_started_again_shows_the_log_of_before(server: ApiServer, cluster: Cluster) -> None:
    put_job(server, failed=False)
    before = {"terminated": {"exitCode": 2, "reason": "Error", "finishedAt": "2026-01-01T10:00:00Z"}}
    waits = {"waiting": {"reason": "CrashLoopBackOff"}}
    container = {"name": "main", "state": waits, "lastState": before, "restartCount": 4}
    put_pod(server, "train-0-x", 0, {"phase": "Running", "containerStatuses": [container]})
    server.logs["train-0-x", "before main"] = "no such column\n"
    diagnosis = diagnose(cluster, TRAIN, WaitTimeoutError("The Job train was not complete after 60 seconds"))
    assert diagnosis.facts.log == "no such column"
    assert "started again 4 times, before that it ended with exit code 2" in " ".join(str(diagnosis).split())
    assert (diagnosis.finding.cause, diagnosis.finding.permanent) == ("program-failed", False)


@pytest.mark.parametrize(
    ("verb", "resource", "what"),
    [
        ("list", "pods", "objects of the kind Pod"),
        ("list", "events", "objects of the kind Event"),
        ("get", "pods/log", "the log of the pod train-0-x"),
    ],
)
def test_what_may_not_be_read_is_told_once_with_the_rule_that_grants_it(
    server: ApiServer, cluster: Cluster, verb: str, resource: str, what: str
) -> None:
    job = put_job(server)
    put_pod(server, "train-0-x", 0, ended(3, "10:00:04"))
    server.denied.add((verb, resource))
    page = str(diagnose(cluster, TRAIN, FAILED, manifest=job))
    told = f"Could not read:\n  {what}: the permission is missing. Add this rule to a Role"
    assert page.count(told) == 1
    assert page.count(f'resources: ["{resource}"]\n        verbs: ["{verb}"]') == 1


def test_an_api_server_that_is_away_ends_the_diagnosis_in_time(
    server: ApiServer, cluster: Cluster, clock: JumpingClock
) -> None:
    job = put_job(server)
    server.fail("list", *[Fault(503)] * 1000)
    server.fail("get", *[Fault(503)] * 1000)
    diagnosis = diagnose(cluster, TRAIN, FAILED, manifest=job)
    assert clock.now() <= 10
    assert "Could not read:\n  objects of the kind Pod: 503 Service Unavailable: failed on purpose" in str(diagnosis)
    assert diagnosis.finding.cause == "unknown"


def test_a_log_that_its_node_withholds_does_not_keep_the_page(
    server: ApiServer, cluster: Cluster, clock: JumpingClock
) -> None:
    job = put_job(server)
    put_pod(server, "train-0-x", 0, ended(3, "10:00:04"))
    server.fail("get", *[Fault(500, message="dial tcp: connection refused")] * 100)
    page = str(diagnose(cluster, TRAIN, FAILED, manifest=job))
    assert clock.now() <= 2
    assert "the log of the pod train-0-x: 500 Internal Server Error: dial tcp: connection refused" in page


def test_events_that_say_the_same_are_one(server: ApiServer, cluster: Cluster) -> None:
    job = put_job(server, failed=False, active=0)
    for number in range(3):
        message = f'Error creating: pods "train-{number}" is forbidden: exceeded quota: gpus, requested: cpu=1'
        put_event(server, job, "FailedCreate", message, f"10:00:0{number}", count=2)
    events = diagnose(cluster, TRAIN).facts.events
    assert [(each.reason, each.count, each.last) for each in events] == [("FailedCreate", 6, "2026-01-01T10:00:02Z")]


def test_a_preemption_is_known_when_its_pod_is_gone(server: ApiServer, cluster: Cluster) -> None:
    put_job(server, failed=False)
    gone = {"metadata": {"name": "train-0-y", "uid": "gone"}}
    put_event(server, gone, "Preempted", "Preempted by pod high on node gpu-1", "10:00:00")
    put_pod(server, "train-0-x", 0, UNSCHEDULED)
    error = diagnose(cluster, TRAIN).error()
    assert "and one before it was preempted" in error.problem
    assert error.scheduler_message == SCHEDULER


class Checked:
    """A check of one Job, and what it said."""

    def __init__(self, cluster: Cluster, manifest: Manifest) -> None:
        self.said: list[str] = []
        self.manifest = manifest
        self.check = ObstacleCheck(cluster, TRAIN, 600, self.said.append, "scheduling_timeout_seconds")

    def __call__(self) -> None:
        self.check(self.manifest, Pending("not yet"))


def waiting(reason: str) -> Manifest:
    return {"phase": "Pending", "containerStatuses": [{"name": "main", "state": {"waiting": {"reason": reason}}}]}


def test_a_missing_image_is_hopeless_after_a_grace(server: ApiServer, cluster: Cluster, clock: JumpingClock) -> None:
    checked = Checked(cluster, put_job(server, failed=False))
    put_pod(server, "train-0-x", 0, waiting("ImagePullBackOff"))
    checked()
    clock.time += GRACE_SECONDS - 1
    checked()
    clock.time += 1
    with pytest.raises(WorkloadFailedError, match="The Job train cannot go on: the image of ") as caught:
        checked()
    assert caught.value.permanent
    assert len(checked.said) == 1


def test_an_image_that_comes_after_all_gets_its_grace_anew(
    server: ApiServer, cluster: Cluster, clock: JumpingClock
) -> None:
    checked = Checked(cluster, put_job(server, failed=False))
    for reason in ("ImagePullBackOff", "ContainerCreating", "ImagePullBackOff"):
        put_pod(server, "train-0-x", 0, waiting(reason))
        checked()
        clock.time += GRACE_SECONDS - 1
    assert checked.said[1] == "The Job train: its pod is pending."


def test_room_may_be_waited_for_as_long_as_the_caller_says(
    server: ApiServer, cluster: Cluster, clock: JumpingClock
) -> None:
    put_pod(server, "train-0-x", 0, UNSCHEDULED)
    checked = Checked(cluster, put_job(server, failed=False))
    checked()
    clock.time += 599
    checked()
    clock.time += 1
    with pytest.raises(WorkloadFailedError, match="there is no node for the pod train-0-x") as caught:
        checked()
    assert not caught.value.permanent
    told = " ".join(str(caught.value).split())
    assert "The Job train has waited 600 s for room" in told
    assert "as from nodes that are added on demand, raise scheduling_timeout_seconds." in told


def test_what_is_no_matter_of_room_is_not_waited_for_longer(
    server: ApiServer, cluster: Cluster, clock: JumpingClock
) -> None:
    put_pod(server, "train-0-x", 0, waiting("ImagePullBackOff"))
    checked = Checked(cluster, put_job(server, failed=False))
    checked()
    clock.time += GRACE_SECONDS
    with pytest.raises(WorkloadFailedError, match="cannot go on") as caught:
        checked()
    assert "scheduling_timeout_seconds" not in str(caught.value)


def test_what_is_refused_is_hopeless_at_once(server: ApiServer, cluster: Cluster) -> None:
    job = put_job(server, failed=False, active=0)
    put_event(server, job, "FailedCreate", 'pods "x" is forbidden: violates PodSecurity "restricted"', "10:00:00")
    with pytest.raises(WorkloadFailedError, match="violates PodSecurity") as caught:
        Checked(cluster, job)()
    assert caught.value.permanent


def test_a_check_that_may_read_nothing_lets_the_wait_go_on(server: ApiServer, cluster: Cluster) -> None:
    checked = Checked(cluster, put_job(server, failed=False))
    server.denied = {("list", "pods"), ("list", "events")}
    checked()
    assert checked.said == []


def test_a_job_gets_on_while_one_of_its_pods_runs(server: ApiServer, cluster: Cluster, clock: JumpingClock) -> None:
    checked = Checked(cluster, put_job(server, failed=False))
    put_pod(server, "train-0-x", 0, UNSCHEDULED)
    put_pod(server, "train-1-x", 1, {"phase": "Running"})
    checked()
    clock.time += 10_000
    checked()
    server.remove("pods", "train-1-x")
    checked()
    clock.time += 601
    with pytest.raises(WorkloadFailedError, match="there is no node for the pod train-0-x"):
        checked()


def test_a_job_that_its_queue_holds_may_wait_as_long_as_for_room(
    server: ApiServer, cluster: Cluster, clock: JumpingClock
) -> None:
    held = put_job(server, failed=False, active=0)
    held["metadata"]["labels"] = {"kueue.x-k8s.io/queue-name": "gpus"}
    held["spec"]["suspend"] = True
    checked = Checked(cluster, held)
    checked()
    assert checked.said == ["The Job train: the queue gpus holds it back."]
    clock.time += 601
    with pytest.raises(WorkloadFailedError, match="the queue gpus holds it back") as caught:
        checked()
    assert "kubectl -n team describe workload" in caught.value.what_to_do


def test_a_pod_that_is_not_as_expected_keeps_nothing_else_from_being_told(server: ApiServer, cluster: Cluster) -> None:
    job = put_job(server)
    put_pod(server, "train-0-x", 0, ended(3, "10:00:04"))
    put_pod(server, "train-1-x", 1, {"conditions": [{"status": "True"}], "containerStatuses": [{"state": {}}]})
    diagnosis = diagnose(cluster, TRAIN, FAILED, manifest=job)
    assert diagnosis.finding.cause == "program-failed"
    assert diagnosis.facts.unreadable == ("the Pod train-1-x: KeyError: 'name'",)
