"""A test bed on which the files of `cluster` are applied, and teams work in the namespaces that they make."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from testbed.bed import Bed
from testbed.settings import Node, Settings, gpu_node
from tests.control_plane.conftest import running_bed
from tests.control_plane.kube.workloads import custom_kind
from tests.control_plane.tuning.katib import install


@pytest.fixture(scope="session")
def team_bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """All controllers, simulated nodes, and an API server that writes down what ServiceAccounts ask for."""
    settings = Settings(process_nodes=(), audit=True)
    with running_bed(tmp_path_factory, "team-bed", settings) as started:
        nodes = (gpu_node("simulated-gpu"), gpu_node("simulated-gpu-2"))
        mig = gpu_node("simulated-mig", gpu_type="a100-80gb-mig", resource="nvidia.com/mig-1g.10gb", count=14)
        started.add_simulated_nodes(Node("simulated-cpu"), *nodes, mig)
        # There are none: whether one is to own what a step makes is asked all the same.
        started.apply(custom_kind("argoproj.io/v1alpha1", "Workflow", "workflows"))
        install(started)  # Katib's kinds
        yield started
