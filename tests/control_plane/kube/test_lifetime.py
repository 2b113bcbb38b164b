"""Objects of a run from their making to their end: Kubeflow's kinds, refusals, missing permissions, the clean-up."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stepworks.errors import AccessDeniedError, WorkloadFailedError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import apply, find, get, list_objects, patch
from stepworks.kube.api.references import Reference, Selection
from stepworks.kube.diagnosis.diagnose import diagnose
from stepworks.kube.kinds.manifests import Manifest
from stepworks.kube.kinds.table import kind_of
from stepworks.kube.runs.belonging import KEEP_LABEL, RUN_LABEL
from stepworks.kube.runs.lifetime import run_to_end
from stepworks.operations.clean_up import clean_up
from testbed.bed import Bed
from tests.control_plane.jobs import LABEL, RUN
from tests.control_plane.kube.workloads import (
    OUTCOME,
    allow,
    config_map,
    connect_as,
    job,
    once_allowed,
    pod_template,
)
from tests.control_plane.pods import holding, let_succeed
from tests.waiting import wait_for


def run(cluster: Cluster, manifest: Manifest, timeout: float = 60) -> Manifest:
    known = kind_of(manifest)
    assert known is not None
    assert known.until is not None
    return run_to_end(cluster, manifest, run=RUN, until=known.until, timeout=timeout, on_failure="suspend")


def failure(cluster: Cluster, manifest: Manifest, timeout: float = 60) -> WorkloadFailedError:
    with pytest.raises(WorkloadFailedError) as caught:
        run(cluster, manifest, timeout)
    return caught.value


def template(container: str, outcome: str) -> Manifest:
    made = pod_template("Never", {}, {OUTCOME: outcome})
    made["spec"]["containers"][0]["name"] = container
    return made


def train_job(cluster: Cluster, outcome: str) -> Manifest:
    """A TrainJob of two nodes, with a runtime of its own."""
    step = {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}
    spec = {"backoffLimit": 0, "template": template("node", outcome)}
    replicated = {"name": "node", "template": {"metadata": {"labels": step}, "spec": spec}}
    runtime = {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainingRuntime",
        "metadata": {"name": "plain", "labels": {"trainer.kubeflow.org/framework": "torch"}},
        "spec": {"mlPolicy": {"numNodes": 2, "torch": {}}, "template": {"spec": {"replicatedJobs": [replicated]}}},
    }
    apply(cluster, runtime)
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {"name": "train"},
        "spec": {
            "runtimeRef": {"apiGroup": "trainer.kubeflow.org", "kind": "TrainingRuntime", "name": "plain"},
            "trainer": {"numNodes": 2, "numProcPerNode": 1, "command": ["torchrun", "train.py"]},
        },
    }


def pytorch_job(_cluster: Cluster, outcome: str) -> Manifest:
    """A PyTorchJob of two workers."""
    workers = {"replicas": 2, "restartPolicy": "Never", "template": template("pytorch", outcome)}
    return {
        "apiVersion": "kubeflow.org/v1",
        "kind": "PyTorchJob",
        "metadata": {"name": "train"},
        "spec": {"pytorchReplicaSpecs": {"Worker": workers}},
    }


TRAINING = pytest.mark.parametrize("build", [train_job, pytorch_job], ids=["TrainJob", "PyTorchJob"])
Build = Callable[[Cluster, str], Manifest]


def two_running(cluster: Cluster) -> list[str]:
    return list(wait_for("two pods run", lambda: names if len(names := holding(cluster)) == 2 else []))


@TRAINING
def test_training_that_takes_too_long_holds_nothing_and_goes_on_in_the_next_attempt(
    kubeflow_cluster: Cluster, build: Build
) -> None:
    manifest = build(kubeflow_cluster, "running")
    error = failure(kubeflow_cluster, manifest, timeout=3)
    assert (error.cause, error.permanent) == ("still-running", False)
    wait_for("its pods are gone", lambda: not holding(kubeflow_cluster))
    with ThreadPoolExecutor() as pool:
        ended = pool.submit(run, kubeflow_cluster, manifest)
        for pod in two_running(kubeflow_cluster):
            wait_for("it runs", lambda pod=pod: phase(kubeflow_cluster, pod) == "Running")
            let_succeed(kubeflow_cluster, pod)
        assert ended.result()["metadata"]["labels"] == LABEL


@TRAINING
def test_of_training_in_which_one_node_fails_no_pod_is_left_running(kubeflow_cluster: Cluster, build: Build) -> None:
    manifest = build(kubeflow_cluster, "running")
    with ThreadPoolExecutor() as pool:
        ended = pool.submit(failure, kubeflow_cluster, manifest)
        first, second = sorted(two_running(kubeflow_cluster))
        wait_for("it runs", lambda: phase(kubeflow_cluster, second) == "Running")
        change = {"metadata": {"annotations": {OUTCOME: "failed"}}}
        patch(kubeflow_cluster, Reference("v1", "Pod", second), change)
        error = ended.result()
    assert (error.cause, error.permanent, error.pod) == ("program-failed", True, second)
    wait_for(f"{first} is gone too", lambda: not holding(kubeflow_cluster))


def phase(cluster: Cluster, pod: str) -> str:
    return str(get(cluster, Reference("v1", "Pod", pod))["status"]["phase"])


def test_an_inference_service_of_an_absent_runtime_is_not_tried_again(kubeflow_cluster: Cluster) -> None:
    service = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "iris"},
        "spec": {"predictor": {"model": {"modelFormat": {"name": "none-such"}, "storageUri": "s3://bucket/model"}}},
    }
    error = failure(kubeflow_cluster, service)
    assert (error.cause, error.permanent) == ("spec-invalid", True)
    assert failure(kubeflow_cluster, service).problem == error.problem


LIMITS = {
    "apiVersion": "v1",
    "kind": "LimitRange",
    "metadata": {"name": "limits"},
    "spec": {"limits": [{"type": "Container", "max": {"memory": "1Gi"}}]},
}


def test_pods_that_a_limit_range_refuses_end_the_step_at_once(cluster: Cluster) -> None:
    apply(cluster, LIMITS)
    manifest = job("train")
    manifest["spec"]["template"]["spec"]["containers"][0]["resources"] = {"limits": {"memory": "2Gi"}}
    error = failure(cluster, manifest)
    assert (error.cause, error.permanent) == ("refused", True)
    assert error.problem == (
        "The Job train cannot go on: it may not make its pods: a LimitRange of the namespace refuses them: maximum "
        "memory usage per Container is 1Gi, but limit is 2Gi"
    )
    assert get(cluster, Reference("batch/v1", "Job", "train"))["spec"]["suspend"]


def test_a_service_account_that_is_absent_ends_the_step_at_once(cluster: Cluster) -> None:
    manifest = job("train")
    manifest["spec"]["template"]["spec"]["serviceAccountName"] = "none-such"
    assert failure(cluster, manifest).problem.endswith("there is no ServiceAccount none-such")


def test_without_leave_to_read_events_and_logs_the_page_says_so(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(WorkloadFailedError):
        run(cluster, job("train", "failed"))
    account = connect_as(cluster, "reader", tmp_path)
    read = {"verbs": ["get", "list"]}
    rules = [
        {"apiGroups": [""], "resources": ["pods"], **read},
        {"apiGroups": ["batch"], "resources": ["jobs"], **read},
    ]
    allow(cluster, "reader", rules)
    once_allowed(lambda: list_objects(account, Selection("v1", "Pod")))
    diagnosis = diagnose(account, Reference("batch/v1", "Job", "train"))
    assert diagnosis.finding.cause == "program-failed"
    page = str(diagnosis)
    assert "objects of the kind Event: the permission is missing." in page
    assert 'resources: ["pods/log"]' in page


def labelled(manifest: Manifest, **labels: str) -> Manifest:
    manifest["metadata"]["labels"] = {RUN_LABEL: RUN, **labels}
    return manifest


def test_the_exit_step_deletes_what_it_may_and_tells_the_rest(
    bed: Bed, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for manifest in (
        labelled(job("train", "running")),
        labelled(config_map("settings", a="b")),
        labelled(config_map("kept", a="b"), **{KEEP_LABEL: "true"}),
        config_map("of-nobody", a="b"),
    ):
        apply(cluster, manifest)
    account = connect_as(cluster, "cleaner", tmp_path)
    resources = ["configmaps", "persistentvolumeclaims"]
    verbs = {"verbs": ["list", "delete"]}
    allow(
        cluster,
        "cleaner",
        [
            {"apiGroups": [""], "resources": resources, **verbs},
            {"apiGroups": ["batch"], "resources": ["jobs"], **verbs},
            {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]},
        ],
    )
    once_allowed(lambda: list_objects(account, Selection("batch/v1", "Job")))
    monkeypatch.setattr("stepworks.operations.clean_up.cluster_of_step", lambda: account)
    with pytest.raises(AccessDeniedError, match="refused to list objects of the kind Secret") as caught:
        clean_up(RUN, [], objects=True)
    assert 'resources: ["secrets"]' in caught.value.what_to_do
    present = {each["metadata"]["name"] for each in list_objects(cluster, Selection("v1", "ConfigMap"))}
    assert {"kept", "of-nobody"} <= present
    assert "settings" not in present
    wait_for("the Job is gone", lambda: find(cluster, Reference("batch/v1", "Job", "train")) is None)
    wait_for("its pod is gone", lambda: not holding(cluster))
