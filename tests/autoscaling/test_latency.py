"""A model that is really slow, deployed by the step in its pod, has more pods while its clients wait too long."""

import threading
from pathlib import Path
from typing import Any, Self

import numpy as np
import onnx
import pytest
import yaml
from kfp import dsl
from onnx import helper, numpy_helper

from stepworks.components.serving.deploy.component import deploy
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import apply, get
from stepworks.kube.api.references import Reference
from stepworks.kubeflow.pipeline import Pipeline, claim_path, pipeline
from stepworks.kubeflow.place import place
from stepworks.kubeflow.placement_of import placement_of
from stepworks.serving.client import V2Client
from stepworks.serving.manifest import MODEL_FILE, OUTPUT, Row, Samples, read_package, write_manifest
from testbed.bed import Bed
from tests.autoscaling.services import names, scalers, wait_for_pods
from tests.control_plane.jobs import ROOT
from tests.control_plane.serving.team import MODEL, Team, register

TARGET_SECONDS = 0.01
SIZE = 1200
"""A product of two matrices of this size is 3.5 GFLOP, which no core here does in a hundredth of a second."""


@pytest.fixture
def runtime(scaling_cluster: Cluster) -> None:
    """Our runtime, in the namespace."""
    apply(
        scaling_cluster,
        yaml.safe_load((ROOT / "cluster" / "serving-runtimes" / "stepworks-onnxruntime.yaml").read_text()),
    )


def slow(package: Path) -> None:
    """Let the model of a package multiply large matrices, which changes no answer, and seal it again."""
    inputs = read_package(package).inputs
    model = onnx.load(package / MODEL_FILE)
    for node in model.graph.node:
        node.output[:] = ["right" if name == OUTPUT else name for name in node.output]
    ones = numpy_helper.from_array(np.ones((SIZE, SIZE), dtype=np.float32), "ones")
    zero = numpy_helper.from_array(np.zeros((1,), dtype=np.float32), "zero")
    model.graph.initializer.extend([ones, zero])
    model.graph.node.extend(
        [
            helper.make_node("IsNaN", ["wind_speed"], ["is_missing"]),  # of the input, or it would be computed once
            helper.make_node("Cast", ["is_missing"], ["missing"], to=onnx.TensorProto.FLOAT),
            helper.make_node("ReduceMax", ["missing"], ["any_missing"], keepdims=0),
            helper.make_node("Add", ["ones", "any_missing"], ["matrix"]),
            helper.make_node("MatMul", ["matrix", "matrix"], ["product"]),
            helper.make_node("ReduceMax", ["product"], ["largest"], keepdims=0),
            helper.make_node("Mul", ["largest", "zero"], ["nothing"]),
            helper.make_node("Add", ["right", "nothing"], [OUTPUT]),
        ]
    )
    onnx.checker.check_model(model)
    (package / MODEL_FILE).write_bytes(model.SerializeToString(deterministic=True))
    write_manifest(package, inputs)


def scaled(service: dict[str, Any]) -> Pipeline:
    """A pipeline that deploys with a service's settings."""

    @pipeline(version="1.0.0")
    def deploy_scaled() -> None:
        before = place(register(), "small")
        place(
            deploy(
                package=before.outputs["package"],
                verdict=before.outputs["verdict"],
                registration=before.outputs["registration"],
                registry=claim_path("registry"),
                run=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
                placement=placement_of("serving", mounts=["registry"]),
                service=service,
            ),
            "effects",
            mounts=["registry"],
        )

    return deploy_scaled


class Load:
    """One client that asks a version, answer after answer, until the block ends."""

    def __init__(self, cluster: Cluster, row: Row) -> None:
        service = get(cluster, Reference("v1", "Service", f"{MODEL}-v1-predictor"))
        self._client = V2Client(f"http://{service['spec']['clusterIP']}", f"{MODEL}-v1")
        self._row = row
        self._ended = threading.Event()
        self.answered = 0
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _ask(self) -> None:
        with self._client as client:
            while not self._ended.wait(0.2):
                self.answered += len(client.ask([self._row]))


@pytest.mark.usefixtures("runtime")
def test_latency_makes_pods_more_and_quiet_makes_them_fewer(
    scaling_bed: Bed, scaling_cluster: Cluster, tmp_path: Path
) -> None:
    scaling = {
        "kind": "latency",
        "target_seconds": TARGET_SECONDS,
        "window_seconds": 10,
        "prometheus": scaling_bed.prometheus,
        "polling_seconds": 2,
        "scale_down_seconds": 0,
    }
    team = Team(scaling_bed, scaling_cluster, tmp_path, scaled({"max_replicas": 2, "autoscaling": scaling}))
    team.register(1, slow)
    team.deploy(1)
    assert names(scalers(scaling_cluster)) == ["keda-hpa-flights-v1"]
    wait_for_pods(scaling_cluster, 1)
    rows = Samples.read(team.registry.get(MODEL, 1).directory).rows
    with Load(scaling_cluster, next(row for row in rows if None not in row.values())) as load:
        wait_for_pods(scaling_cluster, 2)
    assert load.answered
    wait_for_pods(scaling_cluster, 1)
