"""Waits on a real control plane: its controllers, its restarts, its forgetting."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stepworks.errors import NotFoundError, ObjectDeletedError, ObjectFailedError, WaitTimeoutError
from stepworks.kube.api.cluster import Cluster, connect
from stepworks.kube.api.objects import apply, create, delete, list_objects, patch
from stepworks.kube.api.references import Selection, reference_to
from stepworks.kube.kinds.rules import (
    CLAIM_BOUND,
    DEPLOYMENT_ROLLED_OUT,
    GONE,
    JOB_COMPLETE,
    POD_READY,
    RolledOut,
)
from stepworks.kube.waiting.wait import wait, wait_all
from stepworks.kube.waiting.watch import Change, Watch
from testbed.bed import Bed
from tests.control_plane.faults.proxy import proxy_before
from tests.control_plane.kube.workloads import allow, claim, connect_as, deployment, job, once_allowed, pod, volume
from tests.waiting import wait_for

JOB_RULE = {
    "apiGroups": ["batch"],
    "resources": ["jobs"],
    "verbs": ["get", "list", "watch", "create", "patch", "delete"],
}


def test_jobs_end_as_they_end(cluster: Cluster) -> None:
    good = apply(cluster, job("good"))
    assert wait(cluster, reference_to(good), until=JOB_COMPLETE, timeout=60)["status"]["succeeded"] == 1
    bad = apply(cluster, job("bad", "failed"))
    with pytest.raises(ObjectFailedError) as caught:
        wait(cluster, reference_to(bad), until=JOB_COMPLETE, timeout=60)
    assert "BackoffLimitExceeded" in caught.value.received
    slow = apply(cluster, job("slow", "running"))
    with pytest.raises(WaitTimeoutError):
        wait(cluster, reference_to(slow), until=JOB_COMPLETE, timeout=1)


def test_an_object_that_goes_is_told_and_another_in_its_place_too(cluster: Cluster) -> None:
    first = apply(cluster, job("train", suspend=True))
    reference = reference_to(first)
    threading.Timer(0.5, lambda: delete(cluster, reference)).start()
    with pytest.raises(ObjectDeletedError):
        wait(cluster, reference, until=JOB_COMPLETE, timeout=60)
    with pytest.raises(NotFoundError):
        wait(cluster, reference, until=JOB_COMPLETE, timeout=60)
    wait(cluster, reference, until=GONE, timeout=60)
    create(cluster, job("train"))
    with pytest.raises(ObjectDeletedError, match="was deleted") as caught:
        wait(cluster, reference, until=JOB_COMPLETE, timeout=60, uid=first["metadata"]["uid"])
    assert "another object of that name" in caught.value.received


def test_what_its_finalizers_keep_is_not_gone(cluster: Cluster) -> None:
    kept = job("train", suspend=True)
    kept["metadata"]["finalizers"] = ["stepworks.dev/test"]
    reference = reference_to(apply(cluster, kept))
    delete(cluster, reference)
    with pytest.raises(WaitTimeoutError) as caught:
        wait(cluster, reference, until=GONE, timeout=1)
    assert caught.value.received == "it is being deleted; its finalizers are stepworks.dev/test"
    patch(cluster, reference, {"metadata": {"finalizers": None}})
    wait(cluster, reference, until=GONE, timeout=60)


def test_a_changed_deployment_is_not_taken_for_rolled_out(cluster: Cluster) -> None:
    reference = reference_to(apply(cluster, deployment("serve", "first")))
    wait(cluster, reference, until=DEPLOYMENT_ROLLED_OUT, timeout=60)
    for revision in ("second", "third", "fourth"):
        applied = apply(cluster, deployment("serve", revision))
        assert applied["status"]["availableReplicas"] == 2
        done = wait(cluster, reference, until=RolledOut({"revision": revision}), timeout=60)
        assert done["status"]["observedGeneration"] == applied["metadata"]["generation"]
        assert done["status"]["updatedReplicas"] == done["status"]["replicas"] == 2


def test_a_claim_comes_to_be_bound_and_a_pod_ready(cluster: Cluster) -> None:
    bound = reference_to(apply(cluster, claim("data")))
    made = reference_to(apply(cluster, volume(cluster.namespace, "data")))
    try:
        wait(cluster, bound, until=CLAIM_BOUND, timeout=60)
        ready = reference_to(apply(cluster, pod("serve", claim="data")))
        wait(cluster, ready, until=POD_READY, timeout=60)
    finally:
        delete(cluster, made)


def test_many_jobs_are_waited_for_at_once(cluster: Cluster) -> None:
    outcomes = ["succeeded", "failed"] * 10
    references = [reference_to(apply(cluster, job(f"job-{n}", each))) for n, each in enumerate(outcomes)]
    ended = {each.reference: each for each in wait_all(cluster, references, until=JOB_COMPLETE, timeout=120)}
    assert [type(ended[each].error) for each in references] == [type(None), ObjectFailedError] * 10


def test_what_the_api_server_forgot_while_it_was_out_of_reach_is_listed_anew(
    bed: Bed, cluster: Cluster, tmp_path: Path
) -> None:
    gone = reference_to(apply(cluster, job("gone", suspend=True)))
    with proxy_before(bed, tmp_path) as (proxy, kubeconfig), ThreadPoolExecutor() as pool:
        through = connect(kubeconfig=kubeconfig, namespace=cluster.namespace)
        watch = Watch(through, Selection("batch/v1", "Job"))
        told: list[tuple[str, str]] = []
        ended = pool.submit(lambda: told.extend(_in_words(change) for change in watch))
        wait_for("it watches", proxy.count_watches)
        proxy.failures["GET"].extend([503] * 1000)
        proxy.cut_watches()
        delete(cluster, gone)
        wait_for("the Job is gone", lambda: not list_objects(cluster, Selection("batch/v1", "Job")))
        apply(cluster, job("new", suspend=True))
        restart_api_server(bed)  # of the changes before that it knows nothing
        proxy.failures["GET"].clear()
        wait_for("it listed anew", lambda: told.count(("listed", "")) == 2)
        watch.close()
        ended.result(30)
    # The controller of Jobs may have changed one before and after that, which is told, too.
    first = told.index(("listed", ""))
    anew = told.index(("deleted", "gone"))
    assert set(told[: first + 1]) == {("present", "gone"), ("listed", "")}
    assert told[anew : anew + 3] == [("deleted", "gone"), ("present", "new"), ("listed", "")]


def _in_words(change: Change) -> tuple[str, str]:
    return change.kind, change.manifest.get("metadata", {}).get("name", "")


def restart_api_server(bed: Bed) -> None:
    bed.daemons["kube-apiserver"].kill()
    bed.restart("kube-apiserver")


def test_the_api_server_may_be_killed_and_come_back(bed: Bed, cluster: Cluster, tmp_path: Path) -> None:
    """As a ServiceAccount: a server that comes up knows neither it nor its Role for a moment."""
    runner = connect_as(cluster, "runner", tmp_path)
    allow(cluster, "runner", [JOB_RULE])
    reference = reference_to(once_allowed(lambda: apply(runner, job("train", suspend=True))))
    with ThreadPoolExecutor() as threads:
        answer = threads.submit(wait, runner, reference, until=JOB_COMPLETE, timeout=120)
        for _ in range(3):
            time.sleep(0.5)  # so that it watches
            restart_api_server(bed)
        assert not answer.done()
        patch(runner, reference, {"spec": {"suspend": False}})
    assert answer.result()["status"]["succeeded"] == 1
