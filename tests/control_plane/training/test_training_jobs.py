"""TrainJobs and PyTorchJobs on simulated GPU nodes, through the real controllers of both generations."""

from __future__ import annotations

from typing import Any

import pytest

from stepworks.errors import ObjectDeletedError, WorkloadFailedError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import delete, find, get, list_objects
from stepworks.kube.api.references import Reference, Selection
from stepworks.kube.kinds.manifests import Manifest
from stepworks.kube.training_job import TrainingJobKind
from testbed.bed import Bed
from tests.control_plane.pods import holding, pods, running
from tests.control_plane.training.training_jobs import NAMES, SECONDS, let, played, run, started
from tests.waiting import wait_for

KINDS: list[TrainingJobKind] = ["TrainJob", "PyTorchJob"]
TRAINER = "trainer.kubeflow.org/v1alpha1"
both_kinds = pytest.mark.parametrize("kind", KINDS)


def environment(pod: Manifest) -> dict[str, str]:
    """The variables of a pod that have a value, or the field that they are taken from."""
    (container,) = pod["spec"]["containers"]
    return {each["name"]: each.get("value") or each["valueFrom"]["fieldRef"]["fieldPath"] for each in container["env"]}


def wanted_environment(kind: TrainingJobKind, number: int) -> dict[str, str]:
    """What torchrun reads in a pod, 0 being the first one."""
    if kind == "TrainJob":
        rank = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
        address, port = "fit-run-1-node-0-0.fit-run-1", "29500"
    else:
        rank, port = str(number), "23456"
        address = "fit-run-1-master-0"
    return {
        "PET_NNODES": "2",
        "PET_NPROC_PER_NODE": "4",
        "PET_NODE_RANK": rank,
        "PET_MASTER_ADDR": address,
        "PET_MASTER_PORT": port,
    }


@pytest.mark.parametrize(
    ("kind", "retries", "own_runtime"), [("TrainJob", 0, False), ("TrainJob", 2, True), ("PyTorchJob", 2, False)]
)
def test_pods_land_on_gpu_nodes_and_find_each_other(
    kubeflow_cluster: Cluster, kind: TrainingJobKind, retries: int, own_runtime: bool
) -> None:
    cluster = kubeflow_cluster
    with started(cluster, kind, played("running", retries=retries, environment={"A": "1"})) as job:
        names = running(cluster, count=2)
        found = sorted(pods(cluster), key=lambda each: str(each["metadata"]["name"]))
        let(cluster, "succeeded", *names)
        job.result(SECONDS)
    assert [each["spec"]["nodeName"] for each in found] in (
        ["simulated-gpu-0", "simulated-gpu-1"],
        ["simulated-gpu-1", "simulated-gpu-0"],
    )
    for number, pod in enumerate(found):
        variables = environment(pod)
        assert variables["A"] == "1"
        assert {name: variables[name] for name in variables if name.startswith("PET_")} == wanted_environment(
            kind, number
        )
        assert pod["metadata"]["annotations"]["sidecar.istio.io/inject"] == "false"
        (container,) = pod["spec"]["containers"]
        assert container["resources"]["limits"]["nvidia.com/gpu"] == "4"
        assert {"name": "shared-memory", "mountPath": "/dev/shm"} in container["volumeMounts"]
    runtimes = list_objects(cluster, Selection(TRAINER, "TrainingRuntime"))
    assert [each["metadata"]["name"] for each in runtimes] == (["fit-run-1"] if own_runtime else [])


@both_kinds
def test_a_rank_that_fails_for_good_fails_the_job(kubeflow_cluster: Cluster, kind: TrainingJobKind) -> None:
    cluster = kubeflow_cluster
    # The timeout is what makes the TrainJob have a runtime of its own, without restarts.
    with started(cluster, kind, played("running", timeout_seconds=3600)) as job:
        let(cluster, "failed", running(cluster, count=2)[1])
        with pytest.raises(WorkloadFailedError, match=f"{kind} fit-run-1"):
            job.result(SECONDS)
    wait_for("nothing is held", lambda: not holding(cluster))
    assert get(cluster, NAMES[kind])["metadata"]["annotations"]["stepworks.dev/suspended"] == "true"


def test_a_rank_that_fails_restarts_all_of_them(kubeflow_cluster: Cluster) -> None:
    cluster = kubeflow_cluster
    with started(cluster, "TrainJob", played("running", retries=1)) as job:
        first = running(cluster, count=2)
        let(cluster, "failed", first[1])
        second = running(cluster, besides=tuple(first), count=2)
        let(cluster, "succeeded", *second)
        job.result(SECONDS)


def test_restarts_come_to_an_end(kubeflow_cluster: Cluster) -> None:
    cluster = kubeflow_cluster
    with pytest.raises(WorkloadFailedError, match="TrainJob fit-run-1"):
        run(cluster, "TrainJob", played("failed", retries=1))
    job_set = get(cluster, Reference("jobset.x-k8s.io/v1alpha2", "JobSet", "fit-run-1"))
    assert job_set["status"]["restarts"] == 1


def test_a_preempted_pod_is_not_counted_as_a_failure(kubeflow_cluster: Cluster) -> None:
    cluster = kubeflow_cluster
    with started(cluster, "TrainJob", played("running", timeout_seconds=3600)) as job:
        first = running(cluster, count=2)
        let(cluster, "evicted", first[0])
        let(cluster, "succeeded", *running(cluster, besides=tuple(first), count=2))
        job.result(SECONDS)


@pytest.mark.parametrize("timeout_seconds", [None, 3600])
def test_a_deadline_ends_it(kubeflow_bed: Bed, kubeflow_cluster: Cluster, timeout_seconds: int | None) -> None:
    if timeout_seconds is None and kubeflow_bed.settings.generation == "older":
        pytest.skip("a TrainJob of Trainer 2.1 has a deadline in a runtime of its own only")
    spec = played("running", active_deadline_seconds=5, timeout_seconds=timeout_seconds)
    with pytest.raises(WorkloadFailedError) as raised:
        run(kubeflow_cluster, "TrainJob", spec)
    assert "deadline" in str(raised.value).lower()
    wait_for("nothing is held", lambda: not holding(kubeflow_cluster))


@both_kinds
def test_a_suspended_one_waits_and_one_that_is_deleted_is_told_apart(
    kubeflow_cluster: Cluster, kind: TrainingJobKind
) -> None:
    cluster = kubeflow_cluster
    with started(cluster, kind, played("running", suspend=True)) as job:
        wait_for("it is suspended", lambda: condition(cluster, kind, "Suspended"))
        assert not pods(cluster)
        assert not job.done()
        delete(cluster, NAMES[kind])
        with pytest.raises(ObjectDeletedError):
            job.result(SECONDS)


def condition(cluster: Cluster, kind: TrainingJobKind, name: str) -> bool:
    present: dict[str, Any] = find(cluster, NAMES[kind]) or {}
    conditions = present.get("status", {}).get("conditions") or []
    return any(each["type"] == name and each["status"] == "True" for each in conditions)


def test_a_runtime_goes_when_its_run_is_cleaned_up(kubeflow_cluster: Cluster) -> None:
    from stepworks.kube.api.references import reference_to
    from stepworks.kube.kinds.table import KINDS as ALL
    from stepworks.kube.runs.belonging import find_of_run

    cluster = kubeflow_cluster
    run(cluster, "TrainJob", played("succeeded", retries=1))
    for each in (each for each in ALL if each.made_by_runs):
        for made in find_of_run(cluster, each.api_version, each.kind, "run-1"):
            delete(cluster, reference_to(made))
    wait_for("the runtime is gone", lambda: not list_objects(cluster, Selection(TRAINER, "TrainingRuntime")))


def test_an_elastic_job_tells_its_workers_of_the_range(kubeflow_cluster: Cluster) -> None:
    cluster = kubeflow_cluster
    with started(cluster, "PyTorchJob", played("running", retries=2, least_nodes=1)) as job:
        names = running(cluster, count=2)
        variables = [environment(each) for each in pods(cluster)]
        let(cluster, "succeeded", *names)
        job.result(SECONDS)
    assert sorted(names) == ["fit-run-1-worker-0", "fit-run-1-worker-1"]
    assert {each["PET_NNODES"] for each in variables} == {"1:2"}
    assert {each["PET_RDZV_ENDPOINT"] for each in variables} == {"fit-run-1-worker-0:23456"}


def test_a_tensorflow_job_succeeds_with_its_chief(kubeflow_cluster: Cluster) -> None:
    cluster = kubeflow_cluster
    with started(cluster, "TFJob", played("running", nodes=1, parameter_servers=1)) as job:
        names = running(cluster, count=2)
        assert sorted(names) == ["fit-run-1-chief-0", "fit-run-1-ps-0"]
        assert all("TF_CONFIG" in environment(each) for each in pods(cluster))
        let(cluster, "succeeded", "fit-run-1-chief-0")
        job.result(SECONDS)
    wait_for("nothing is held", lambda: not holding(cluster))
