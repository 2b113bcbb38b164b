"""Argo's workflow controller, which runs the steps of Kubeflow Pipelines, on a test bed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from testbed.bed import Bed
from testbed.settings import Node, Settings
from tests.control_plane.conftest import running_bed

NAMESPACE = "argo"


@pytest.fixture(scope="session")
def argo_bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """A control plane with Argo's workflow controller and two simulated nodes: one has a single GPU."""
    with running_bed(tmp_path_factory, "argo", Settings(controllers=("argo",), process_nodes=())) as bed:
        bed.add_simulated_nodes(Node("cpu"), Node("gpu", {"gpu": "one"}, capacity={"nvidia.com/gpu": "1"}))
        bed.kubectl("create", "serviceaccount", "runner", "-n", NAMESPACE)
        bed.kubectl(
            "create", "clusterrolebinding", "runner", "--clusterrole=admin", f"--serviceaccount={NAMESPACE}:runner"
        )
        for name, value in (("training", 1000), ("inference", 100000)):
            bed.apply(
                {
                    "apiVersion": "scheduling.k8s.io/v1",
                    "kind": "PriorityClass",
                    "metadata": {"name": name},
                    "value": value,
                }
            )
        yield bed
