"""Our ONNX Runtime predictor behind a real InferenceService, on nodes whose pods are processes of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from stepworks.errors import WorkloadFailedError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.model_service import deploy_inference_service
from stepworks.serving.client import ask
from stepworks.serving.manifest import Samples
from stepworks.serving.package import build_package
from testbed.bed import Bed
from tests import pod_namespaces
from tests.control_plane.pods import pods
from tests.control_plane.serving.conftest import claim, onnx_spec
from tests.unit.serving.conftest import write_model, write_raw_table
from tests.waiting import wait_for

pytestmark = [
    pytest.mark.skipif(
        pod_namespaces.MISSING,
        reason="a server listens on one port in every pod, which takes a network of its own: as root on Linux only",
    ),
    pytest.mark.parametrize("serving_bed", ["newer"], indirect=True),
]


@pytest.fixture
def models(serving_bed: Bed, serving_cluster: Cluster, tmp_path: Path) -> Path:
    """A claim with a package of ours in `flights/1`."""
    folder = claim(serving_bed, serving_cluster, "models")
    table = write_raw_table(tmp_path / "test.parquet")
    (folder / "flights").mkdir()
    build_package(write_model(tmp_path / "model", seed=1), table, folder / "flights" / "1")
    return folder


def test_a_package_on_a_claim_is_served_and_answers_as_it_did_offline(serving_cluster: Cluster, models: Path) -> None:
    deploy_inference_service(
        serving_cluster, onnx_spec("pvc://models/flights/1"), name="flights-v1", run="run-1", timeout=180
    )
    (pod,) = pods(serving_cluster, "Running")
    samples = Samples.read(models / "flights" / "1")
    answers = ask(f"http://{pod['status']['podIP']}:8080", "flights-v1", samples.rows)
    assert answers == pytest.approx(samples.probabilities, abs=1e-6)


def test_a_package_that_was_changed_is_not_served_and_its_log_is_told(serving_cluster: Cluster, models: Path) -> None:
    graph = models / "flights" / "1" / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:-1])
    with pytest.raises(WorkloadFailedError) as caught:
        deploy_inference_service(
            serving_cluster, onnx_spec("pvc://models/flights/1"), name="flights-v1", run="run-1", timeout=600
        )
    assert caught.value.cause == "crash-loop"
    assert "Received: missing or changed: model.onnx" in caught.value.page  # from the log of the container
    wait_for("nothing is left", lambda: not pods(serving_cluster))
