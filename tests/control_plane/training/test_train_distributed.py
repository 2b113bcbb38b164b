"""The compiled step train_distributed in a pod of its own, and the training pods beside it: all of them really run."""

import json
from pathlib import Path

import pytest
from kfp import dsl
from kfp.dsl import Dataset, Output

from stepworks.components.training.train_distributed.component import train_distributed
from stepworks.errors import ClusterError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import create
from stepworks.kube.api.pods import read_log
from stepworks.kube.api.references import reference_to
from stepworks.kube.kinds.manifests import Manifest
from stepworks.kube.kinds.rules import POD_SUCCEEDED
from stepworks.kube.waiting.wait import wait
from stepworks.kubeflow.component import component
from stepworks.kubeflow.pipeline import claim_path, pipeline
from stepworks.kubeflow.place import place
from stepworks.kubeflow.placement_of import image_of, placement_of
from testbed.bed import Bed
from tests import pod_namespaces
from tests.control_plane.jobs import ROOT
from tests.control_plane.kube.workloads import allow_steps, connect_as
from tests.control_plane.pods import pods
from tests.control_plane.step_pod import step_pod
from tests.control_plane.training.conftest import claim

pytestmark = pytest.mark.skipif(
    pod_namespaces.MISSING,
    reason="a step in a pod needs its token at its own path, which only root on Linux can give it",
)
RUN = "6f1d2c3b-1111-4222-8333-444455556666"


@component("cpu")
def write_samples(samples: Output[Dataset]) -> None:
    """Stand for whatever makes the samples; it is compiled only."""


@pipeline(version="1.0.0")
def training() -> None:
    """Train in a TrainJob."""
    samples = place(write_samples(), "small")
    place(
        train_distributed(
            name="fit",
            run=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
            image=image_of("gpu"),
            placement=placement_of("small", mounts=["runs"]),
            workspace=claim_path("runs"),
            train_features=samples.outputs["samples"],
            nodes=1,
            model="tests.training.small:build_model",
            data="tests.training.small:read_samples",
            loop={"epochs": 2, "batch_size": 8, "monitor": "validation_loss"},
            parallel={"device": "cpu"},
            environment={"PYTHONPATH": str(ROOT)},
        ),
        "effects",
        mounts=["runs"],
    )


def pod_of_the_step() -> Manifest:
    """The pod of the step."""
    outputs = {"trained_model": "system.Model", "training": "system.Artifact", "metrics": "system.Metrics"}
    samples = {"name": "samples", "type": {"schemaTitle": "system.Dataset"}, "uri": "/mnt/runs/samples.json"}
    return step_pod(
        training,
        "train-distributed",
        claim="runs",
        run=RUN,
        inputs={"train_features": {"artifacts": [samples]}},
        outputs={
            name: {"artifacts": [{"name": name, "type": {"schemaTitle": kind}, "uri": f"/mnt/runs/out/{name}"}]}
            for name, kind in outputs.items()
        },
    )


def test_the_step_trains_in_a_train_job_and_hands_the_model_back(
    training_bed: Bed, training_cluster: Cluster, tmp_path: Path
) -> None:
    cluster = training_cluster
    connect_as(cluster, "runner", tmp_path)
    allow_steps(cluster, "runner", "train_distributed")
    folder = claim(training_bed, cluster)
    (folder / "samples.json").write_text(json.dumps({"samples": 48, "seed": 1}))
    step = create(cluster, pod_of_the_step())
    try:
        wait(cluster, reference_to(step), until=POD_SUCCEEDED, timeout=300)
    except ClusterError as error:
        error.add_note(read_log(cluster, "step"))
        raise
    assert (folder / "out" / "trained_model" / "model.safetensors").is_file()
    document = json.loads((folder / "out" / "training").read_text())
    assert len(document["epochs"]) == 2
    (model,) = json.loads((folder / "executor-output.json").read_text())["artifacts"]["trained_model"]["artifacts"]
    assert model["metadata"]["job"].startswith("fit-")
    assert model["metadata"]["storage_uri"] == f"pvc://runs/{RUN}/model"
    assert (folder / RUN / "model" / "model.safetensors").is_file()
    log = read_log(cluster, "step")
    assert "Training tests.training.small:build_model on 1 x cpu" in log
    assert "permission" not in log
    (pod,) = [each for each in pods(cluster) if each["metadata"]["name"] != "step"]
    assert pod["spec"]["nodeName"] == "process-cpu"
