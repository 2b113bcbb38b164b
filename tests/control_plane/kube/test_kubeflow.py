"""Kubeflow's own kinds in both generations: their fields, and how their objects end."""

from collections.abc import Callable
from typing import Any

import pytest

from stepworks.errors import ObjectFailedError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import apply, get
from stepworks.kube.api.references import Reference, reference_to
from stepworks.kube.api.schema import read_schema
from stepworks.kube.kinds.judgement import Rule, Succeeded
from stepworks.kube.kinds.manifests import Manifest
from stepworks.kube.kinds.rules import (
    INFERENCE_SERVICE_READY,
    TRAIN_JOB_COMPLETE,
    TRAINING_OPERATOR_JOB_SUCCEEDED,
    RolledOut,
)
from stepworks.kube.waiting.wait import wait
from testbed.bed import Bed
from tests.control_plane.kube.workloads import AFTER, OUTCOME, pod_template

TRAINER = "trainer.kubeflow.org/v1alpha1"
KSERVE = "serving.kserve.io/v1beta1"


def test_fields_tell_the_generations_apart(kubeflow_bed: Bed, kubeflow_cluster: Cluster) -> None:
    newer = kubeflow_bed.settings.generation == "newer"
    service = read_schema(kubeflow_cluster, KSERVE, "InferenceService")
    train_job = read_schema(kubeflow_cluster, TRAINER, "TrainJob")
    assert service.has_field("spec.canary.trafficPercent") is newer
    assert service.has_field("spec.predictor.model.storageUri")
    assert train_job.has_field("spec.runtimePatches") is newer
    assert train_job.has_field("spec.podTemplateOverrides") is not newer


def train_job(outcome: str) -> list[Manifest]:
    """A TrainJob with a runtime of its own, whose pods end as they are told to."""
    template = pod_template("Never", {}, {OUTCOME: outcome, AFTER: "1s"})
    template["spec"]["containers"][0]["name"] = "node"
    replicated = {
        "name": "node",
        "template": {
            "metadata": {"labels": {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}},
            "spec": {"backoffLimit": 0, "template": template},
        },
    }
    return [
        {
            "apiVersion": TRAINER,
            "kind": "TrainingRuntime",
            "metadata": {"name": "plain", "labels": {"trainer.kubeflow.org/framework": "torch"}},
            "spec": {
                "mlPolicy": {"numNodes": 2, "torch": {}},
                "template": {"spec": {"replicatedJobs": [replicated]}},
            },
        },
        {
            "apiVersion": TRAINER,
            "kind": "TrainJob",
            "metadata": {"name": "train"},
            "spec": {
                "runtimeRef": {"apiGroup": "trainer.kubeflow.org", "kind": "TrainingRuntime", "name": "plain"},
                "trainer": {"numNodes": 2, "numProcPerNode": 1, "command": ["torchrun", "train.py"]},
            },
        },
    ]


def pytorch_job(outcome: str) -> list[Manifest]:
    """A PyTorchJob whose only pod ends as it is told to."""
    template = pod_template("Never", {}, {OUTCOME: outcome, AFTER: "1s"})
    template["spec"]["containers"][0]["name"] = "pytorch"
    master = {"replicas": 1, "restartPolicy": "Never", "template": template}
    return [
        {
            "apiVersion": "kubeflow.org/v1",
            "kind": "PyTorchJob",
            "metadata": {"name": "train"},
            "spec": {"pytorchReplicaSpecs": {"Master": master}},
        }
    ]


@pytest.mark.parametrize(
    ("build", "rule"),
    [(train_job, TRAIN_JOB_COMPLETE), (pytorch_job, TRAINING_OPERATOR_JOB_SUCCEEDED)],
)
@pytest.mark.parametrize("outcome", ["succeeded", "failed"])
def test_training_ends_as_it_ends(
    kubeflow_cluster: Cluster, build: Callable[[str], list[Manifest]], rule: Rule, outcome: str
) -> None:
    for manifest in build(outcome):
        applied = apply(kubeflow_cluster, manifest)
    reference = reference_to(applied)
    if outcome == "succeeded":
        wait(kubeflow_cluster, reference, until=rule, timeout=90)
    else:
        with pytest.raises(ObjectFailedError):
            wait(kubeflow_cluster, reference, until=rule, timeout=90)


def service(revision: str) -> Manifest:
    """An InferenceService whose pods carry a revision."""
    container = {"name": "kserve-container", "image": f"registry.example.com/team/server:{revision}"}
    predictor: dict[str, Any] = {"annotations": {"stepworks.dev/revision": revision}, "containers": [container]}
    return {
        "apiVersion": KSERVE,
        "kind": "InferenceService",
        "metadata": {"name": "iris", "annotations": {"serving.kserve.io/deploymentMode": "Standard"}},
        "spec": {"predictor": predictor},
    }


def test_a_changed_inference_service_is_ready_when_its_new_pods_serve(kubeflow_cluster: Cluster) -> None:
    created = apply(kubeflow_cluster, service("1"))
    reference = reference_to(created)
    wait(kubeflow_cluster, reference, until=INFERENCE_SERVICE_READY, timeout=90)
    deployment = Reference("apps/v1", "Deployment", "iris-predictor")
    for revision in ("2", "3"):
        applied = apply(kubeflow_cluster, service(revision))
        # The trap: right after the change it says that it is ready.
        assert isinstance(INFERENCE_SERVICE_READY.judge(applied), Succeeded)
        rolled_out = RolledOut({"stepworks.dev/revision": revision})
        wait(kubeflow_cluster, deployment, until=rolled_out, timeout=90)
        wait(kubeflow_cluster, reference, until=INFERENCE_SERVICE_READY, timeout=90)
        pod_spec = get(kubeflow_cluster, deployment)["spec"]["template"]["spec"]
        assert pod_spec["containers"][0]["image"].endswith(revision)
