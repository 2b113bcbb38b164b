"""Our ONNX Runtime predictor behind a real InferenceService, on nodes whose pods are processes of this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from stepworks.errors import WorkloadFailedError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import apply, create
from stepworks.kube.builders.inference_service import InferenceServiceSpec, inference_service_spec
from stepworks.kube.model_service import deploy_inference_service
from stepworks.serving.client import ask
from stepworks.serving.manifest import Samples
from stepworks.serving.package import build_package
from testbed.bed import Bed
from testbed.settings import Settings
from tests.control_plane.conftest import fresh_namespace, running_bed
from tests.control_plane.jobs import ROOT
from tests.control_plane.pods import pods
from tests.unit.serving.conftest import write_model, write_raw_table
from tests.waiting import wait_for

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0,
    reason="a server listens on one port in every pod, which takes a network of its own: as root on Linux only",
)


@pytest.fixture(scope="module")
def serving_bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """KServe's real controller, and process nodes."""
    settings = Settings(controllers=("kserve",), simulation=False)
    with running_bed(tmp_path_factory, "serving-bed", settings) as started:
        yield started


@pytest.fixture
def cluster(serving_bed: Bed) -> Iterator[Cluster]:
    with fresh_namespace(serving_bed.kubeconfig) as made:
        runtime = (ROOT / "cluster" / "serving-runtimes" / "stepworks-onnxruntime.yaml").read_text()
        apply(made, yaml.safe_load(runtime))
        yield made


@pytest.fixture
def models(serving_bed: Bed, cluster: Cluster, tmp_path: Path) -> Path:
    """A claim with a package of ours in `flights/1`."""
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    create(cluster, {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "models"}, "spec": spec})
    folder = serving_bed.claims / cluster.namespace / "models"
    wait_for("the claim has its folder", folder.is_dir)
    table = write_raw_table(tmp_path / "test.parquet")
    (folder / "flights").mkdir()
    build_package(write_model(tmp_path / "model", seed=1), table, folder / "flights" / "1")
    return folder


def spec(uri: str) -> InferenceServiceSpec:
    return inference_service_spec(
        storage_uri=uri,
        model_format="onnx",
        runtime="stepworks-onnxruntime",
        mode="Standard",
        placement={
            "workload": "inference",
            "cpu": {"request": "1", "limit": "2"},
            "memory": {"request": "1Gi", "limit": "2Gi"},
        },
    )


def test_a_package_on_a_claim_is_served_and_answers_as_it_did_offline(cluster: Cluster, models: Path) -> None:
    deploy_inference_service(cluster, spec("pvc://models/flights/1"), name="flights-v1", run="run-1", timeout=180)
    (pod,) = pods(cluster, "Running")
    samples = Samples.read(models / "flights" / "1")
    answers = ask(f"http://{pod['status']['podIP']}:8080", "flights-v1", samples.rows)
    assert answers == pytest.approx(samples.probabilities, abs=1e-6)


def test_a_package_that_was_changed_is_not_served_and_its_log_is_told(cluster: Cluster, models: Path) -> None:
    graph = models / "flights" / "1" / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:-1])
    with pytest.raises(WorkloadFailedError) as caught:
        deploy_inference_service(cluster, spec("pvc://models/flights/1"), name="flights-v1", run="run-1", timeout=600)
    assert caught.value.cause == "crash-loop"
    assert "Received: missing or changed: model.onnx" in caught.value.page  # from the log of the container
    wait_for("nothing is left", lambda: not pods(cluster))
