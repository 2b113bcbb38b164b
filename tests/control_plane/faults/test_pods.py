"""What a step says and leaves behind when the pods of its Job end badly, or never begin."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from stepworks.errors import AdmissionError, ObjectDeletedError, WorkloadFailedError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import delete, get
from stepworks.kube.api.pods import evict
from stepworks.kube.api.references import Reference
from stepworks.kube.diagnosis import obstacle_check
from testbed.bed import Bed
from testbed.settings import Node
from tests.control_plane.jobs import job_of_run, run
from tests.control_plane.pods import holding, let_succeed, running
from tests.waiting import wait_for


def failure(cluster: Cluster, name: str = "train", **how: float | str | dict[str, str]) -> WorkloadFailedError:
    """Run a Job that fails, and give the error."""
    scheduling = {"scheduling_timeout": how.pop("scheduling_timeout")} if "scheduling_timeout" in how else {}
    with pytest.raises(WorkloadFailedError) as caught:
        run(cluster, job_of_run(name, **how), **scheduling)  # type: ignore[arg-type]
    return caught.value


def test_a_failed_container(cluster: Cluster) -> None:
    error = failure(cluster, outcome="failed")
    assert (error.cause, error.permanent, error.container_exit_code) == ("program-failed", True, 1)
    assert not holding(cluster)


def test_a_permanent_failure_ends_the_next_attempt_before_it_makes_a_pod(cluster: Cluster) -> None:
    first = failure(cluster, outcome="failed")
    uid = get(cluster, Reference("batch/v1", "Job", "train"))["metadata"]["uid"]
    again = failure(cluster, outcome="succeeded")
    assert again.problem == first.problem
    assert "An earlier attempt of this step failed, and another one would fail the same way." in str(again)
    assert get(cluster, Reference("batch/v1", "Job", "train"))["metadata"]["uid"] == uid


def test_a_container_out_of_memory(cluster: Cluster) -> None:
    error = failure(cluster, outcome="oom-killed")
    assert (error.cause, error.container_exit_code) == ("out-of-memory", 137)
    assert not holding(cluster)


def test_a_missing_image(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(obstacle_check, "GRACE_SECONDS", 1.0)  # two minutes otherwise
    error = failure(cluster, outcome="image-missing")
    assert (error.cause, error.permanent) == ("image-missing", True)
    assert "registry.example.com/tools:1" in str(error)
    wait_for("its pod is gone", lambda: not holding(cluster))


def test_no_node_to_run_on(cluster: Cluster) -> None:
    started = time.monotonic()
    error = failure(cluster, nodeSelector={"gpu-type": "none-such"}, scheduling_timeout=2.0)
    assert time.monotonic() - started < 30
    assert not error.permanent
    assert "didn't match Pod's node affinity/selector" in error.scheduler_message
    wait_for("its pod is gone", lambda: not holding(cluster))
    assert get(cluster, Reference("batch/v1", "Job", "train"))["spec"]["suspend"]


def test_a_quota_that_is_used_up(bed: Bed, cluster: Cluster) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "team", "namespace": cluster.namespace},
        "spec": {"hard": {"pods": "0"}},
    }
    bed.apply(quota)
    wait_for(
        "the quota counts",
        lambda: get(cluster, Reference("v1", "ResourceQuota", "team")).get("status", {}).get("hard"),
    )
    error = failure(cluster, scheduling_timeout=2.0)
    assert not error.permanent
    assert "exceeded quota: team" in str(error)
    assert get(cluster, Reference("batch/v1", "Job", "train"))["spec"]["suspend"]


def test_a_pod_that_is_evicted_does_not_count(cluster: Cluster) -> None:
    """The Job makes another pod, though its backoffLimit is 0, and the step goes on waiting."""
    with ThreadPoolExecutor() as pool:
        ended = pool.submit(run, cluster, job_of_run("train", outcome="running"))
        first = running(cluster)[0]
        evict(cluster, first)
        let_succeed(cluster, *running(cluster, besides=(first,)))
        job = ended.result()
    assert job["spec"]["backoffLimit"] == 0
    assert (job["status"]["succeeded"], job["status"].get("failed", 0)) == (1, 0)


def test_a_pod_that_is_preempted_comes_back(bed: Bed, cluster: Cluster) -> None:
    """Inference takes the GPU of a training pod; the Job waits for it, and goes on when it is free again."""
    for name, value in (("training", 1000), ("inference", 100000)):
        metadata = {"name": f"{name}-{cluster.namespace}"}
        bed.apply({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": metadata, "value": value})
    bed.add_simulated_nodes(Node(f"one-gpu-{cluster.namespace}", {"one": "gpu"}, capacity={"nvidia.com/gpu": "1"}))
    limits = {"resources": {"limits": {"nvidia.com/gpu": "1"}}}
    on_gpu = {"nodeSelector": {"one": "gpu"}, "containers": [{"name": "main", "image": "x", **limits}]}
    server = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "server", "namespace": cluster.namespace},
        "spec": {**on_gpu, "priorityClassName": f"inference-{cluster.namespace}"},
    }
    try:
        with ThreadPoolExecutor() as pool:
            training = job_of_run("train", "running", priorityClassName=f"training-{cluster.namespace}", **on_gpu)
            ended = pool.submit(run, cluster, training)
            first = running(cluster)[0]
            bed.apply(server)
            second = wait_for("a pod waits", lambda: next(iter(set(holding(cluster)) - {first, "server"}), ""))
            assert get(cluster, Reference("v1", "Pod", second))["status"]["phase"] == "Pending"
            delete(cluster, Reference("v1", "Pod", "server"))
            assert running(cluster, besides=("server",)) == [second]
            let_succeed(cluster, second)
            status = ended.result()["status"]
        assert (status["succeeded"], status.get("failed", 0)) == (1, 0)
    finally:
        bed.remove_nodes("one=gpu")


def test_a_job_that_somebody_deletes(cluster: Cluster) -> None:
    reference = Reference("batch/v1", "Job", "train")

    def delete_soon() -> None:
        running(cluster)
        delete(cluster, reference)

    thread = threading.Thread(target=delete_soon)
    thread.start()
    with pytest.raises(ObjectDeletedError, match="The Job train was deleted"):
        run(cluster, job_of_run("train", outcome="running"))
    thread.join()
    wait_for("its pod is gone", lambda: not holding(cluster))


def test_an_object_that_the_cluster_refuses(cluster: Cluster) -> None:
    with pytest.raises(AdmissionError, match="spec"):
        run(cluster, job_of_run("train", restartPolicy="Always"))
    assert not holding(cluster)
