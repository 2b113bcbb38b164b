"""A test bed on which model servers really answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import apply, create
from stepworks.kube.builders.inference_service import InferenceServiceSpec, inference_service_spec
from testbed.bed import Bed
from testbed.settings import Settings
from tests.control_plane.conftest import fresh_namespace, running_bed
from tests.control_plane.jobs import ROOT
from tests.waiting import wait_for


@pytest.fixture(scope="session", params=["older", "newer"])
def serving_bed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """KServe's real controller in each generation, and process nodes."""
    settings = Settings(request.param, controllers=("kserve",), simulation=False)
    with running_bed(tmp_path_factory, f"serving-bed-{request.param}", settings) as started:
        yield started


@pytest.fixture
def serving_cluster(serving_bed: Bed) -> Iterator[Cluster]:
    """A fresh namespace on `serving_bed`, with our runtime."""
    with fresh_namespace(serving_bed.kubeconfig) as made:
        runtime = (ROOT / "cluster" / "serving-runtimes" / "stepworks-onnxruntime.yaml").read_text()
        apply(made, yaml.safe_load(runtime))
        yield made


def claim(bed: Bed, cluster: Cluster, name: str) -> Path:
    """Make a claim, and say where its folder is on this machine."""
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    create(cluster, {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec})
    folder = bed.claims / cluster.namespace / name
    wait_for("the claim has its folder", folder.is_dir)
    return folder


def onnx_spec(uri: str, **changes: Any) -> InferenceServiceSpec:
    """A package of ours at a place, as our runtime serves it."""
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
        **changes,
    )
