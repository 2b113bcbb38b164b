"""A test bed on which training jobs really train."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import create
from testbed.bed import Bed
from testbed.settings import Settings
from tests.control_plane.conftest import fresh_namespace, running_bed
from tests.waiting import wait_for


@pytest.fixture(scope="session")
def training_bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """The real controllers of training jobs, and process nodes."""
    settings = Settings(controllers=("jobset", "trainer", "training-operator"), simulation=False)
    with running_bed(tmp_path_factory, "training-bed", settings) as started:
        yield started


@pytest.fixture
def training_cluster(training_bed: Bed) -> Iterator[Cluster]:
    """A fresh namespace on `training_bed`."""
    with fresh_namespace(training_bed.kubeconfig) as made:
        yield made


def claim(bed: Bed, cluster: Cluster) -> Path:
    """Make the claim `runs`, and say where its folder is on this machine."""
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    create(cluster, {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "runs"}, "spec": spec})
    folder = bed.claims / cluster.namespace / "runs"
    wait_for("the claim has its folder", folder.is_dir)
    return folder
