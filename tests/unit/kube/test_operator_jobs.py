"""A PyTorchJob and a TFJob as they are sent: whole objects are compared."""

from typing import Any

import pytest
from pydantic import ValidationError

from stepworks.kube.builders.pytorch_job import build_pytorch_job
from stepworks.kube.builders.tf_job import build_tf_job
from stepworks.kube.builders.workload import TrainingJobSpec
from tests.unit.kube.training_jobs import RUN, large_job, large_pod, training_job

RUN_POLICY = {
    "cleanPodPolicy": "Running",
    "ttlSecondsAfterFinished": 86400,
    "activeDeadlineSeconds": 600,
    "suspend": False,
}


def operator_job(kind: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "kubeflow.org/v1",
        "kind": kind,
        "metadata": {"name": f"fit-{RUN}", "labels": {"stepworks.dev/run": RUN}},
        "spec": spec,
    }


def changed(spec: TrainingJobSpec, **fields: Any) -> TrainingJobSpec:
    return spec.model_copy(update=fields)


def test_a_master_and_workers() -> None:
    pods = {"restartPolicy": "Never", "template": large_pod("pytorch", activeDeadlineSeconds=600)}
    assert build_pytorch_job(large_job(), name="fit", run=RUN) == operator_job(
        "PyTorchJob",
        nprocPerNode="4",
        runPolicy=RUN_POLICY,
        pytorchReplicaSpecs={"Master": {**pods, "replicas": 1}, "Worker": {**pods, "replicas": 1}},
    )


def test_one_node_is_a_master_alone() -> None:
    job = build_pytorch_job(training_job(), name="fit", run=RUN)
    assert list(job["spec"]["pytorchReplicaSpecs"]) == ["Master"]


def test_restarts_are_those_of_all_containers() -> None:
    spec = large_job(retry={"count": 3}, queue="team", priority_class="high")
    job = build_pytorch_job(spec, name="fit", run=RUN)
    assert job["metadata"]["labels"] == {"stepworks.dev/run": RUN, "kueue.x-k8s.io/queue-name": "team"}
    assert job["spec"]["runPolicy"] == {**RUN_POLICY, "backoffLimit": 7}
    for group in job["spec"]["pytorchReplicaSpecs"].values():
        assert group["restartPolicy"] == "OnFailure"
        assert group["template"]["spec"]["priorityClassName"] == "high"
        assert "restartPolicy" not in group["template"]["spec"]


@pytest.mark.parametrize(("timeout_seconds", "wanted"), [(60, 60), (6000, 600)])
def test_pods_end_at_the_earlier_of_two_deadlines(timeout_seconds: int, wanted: int) -> None:
    job = build_pytorch_job(large_job(timeout_seconds=timeout_seconds), name="fit", run=RUN)
    for group in job["spec"]["pytorchReplicaSpecs"].values():
        assert group["template"]["spec"]["activeDeadlineSeconds"] == wanted


def test_an_elastic_job_has_workers_only() -> None:
    job = build_pytorch_job(changed(large_job(retry={"count": 3}), least_nodes=1), name="fit", run=RUN)
    assert {group: each["replicas"] for group, each in job["spec"]["pytorchReplicaSpecs"].items()} == {"Worker": 2}
    assert job["spec"]["elasticPolicy"] == {
        "minReplicas": 1,
        "maxReplicas": 2,
        "rdzvBackend": "c10d",
        "maxRestarts": 3,
    }


@pytest.mark.parametrize("least_nodes", [0, 3])
def test_an_elastic_job_has_no_fewer_nodes_than_it_goes_on_with(least_nodes: int) -> None:
    with pytest.raises(ValidationError, match="least_nodes"):
        training_job(nodes=2, least_nodes=least_nodes)


def test_a_tensorflow_job_with_every_kind_of_pod() -> None:
    pods = {"restartPolicy": "Never", "template": large_pod("tensorflow", activeDeadlineSeconds=600)}
    built = build_tf_job(changed(large_job(), parameter_servers=2, evaluator=True), name="fit", run=RUN)
    assert built == operator_job(
        "TFJob",
        runPolicy=RUN_POLICY,
        tfReplicaSpecs={
            "Chief": {**pods, "replicas": 1},
            "Worker": {**pods, "replicas": 1},
            "PS": {**pods, "replicas": 2},
            "Evaluator": {**pods, "replicas": 1},
        },
    )
    assert list(build_tf_job(training_job(), name="fit", run=RUN)["spec"]["tfReplicaSpecs"]) == ["Chief"]


def test_room_is_left_for_what_the_operator_adds_to_the_names_of_pods() -> None:
    job = build_pytorch_job(training_job(nodes=12), name="n" * 40, run=RUN)
    assert len(f"{job['metadata']['name']}-worker-11") == 63
