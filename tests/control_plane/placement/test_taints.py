"""Where pods with the placements of the shipped targets land, as the real scheduler decides it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import create, get
from stepworks.kube.api.references import Reference
from stepworks.kube.builders.pod_template import placed_pod_template
from stepworks.placement.placement import Placement
from stepworks.placement.target import read_targets
from testbed.bed import Bed
from testbed.settings import GPU_TAINTS, Node, gpu_node

TARGETS = read_targets(Path(__file__).parents[3] / "targets", ["a100", "mig"])


@pytest.fixture(scope="module")
def nodes(bed: Bed) -> Iterator[None]:
    """Nodes of each kind: whole GPUs of two types, slices, and CPUs that are soon full."""
    slices = "nvidia.com/mig-1g.10gb"
    kinds = (
        gpu_node("a100", count=1),
        Node("v100", {"gpu-type": "v100"}, GPU_TAINTS, {"nvidia.com/gpu": "8"}),
        gpu_node("a100-mig", gpu_type="a100-80gb-mig", resource=slices, count=7),
        Node("cpu", {"cpu": "only"}, capacity={"cpu": "2"}),
    )
    bed.kubectl("cordon", "simulated-cpu", "simulated-gpu")
    bed.add_simulated_nodes(*(Node(n.name, {**n.labels, "of": "taints"}, n.taints, n.capacity) for n in kinds))
    yield
    bed.remove_nodes("of=taints")
    bed.kubectl("uncordon", "simulated-cpu", "simulated-gpu")


def start(cluster: Cluster, name: str, placement: Placement) -> None:
    """Create a pod with a placement."""
    containers = [{"name": "main", "image": "registry.example.com/stepworks/cpu:1"}]
    template = placed_pod_template({"spec": {"containers": containers}}, placement, container="main")
    metadata = {**template.get("metadata", {}), "name": name}
    create(cluster, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]})


def verdict(cluster: Cluster, name: str) -> str:
    """The node that the scheduler chose, or why it chose none once it knows of all nodes that they are ready."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        pod: dict[str, Any] = get(cluster, Reference("v1", "Pod", name))
        if node := pod["spec"].get("nodeName"):
            return str(node)
        for condition in pod.get("status", {}).get("conditions", []):
            refused = condition["type"] == "PodScheduled" and condition["status"] == "False"
            if refused and "node.kubernetes.io/not-ready" not in condition["message"]:
                return str(condition["message"])
        time.sleep(0.05)
    raise AssertionError(f"the scheduler said nothing of {name}")


def test_cpu_pods_wait_rather_than_take_a_gpu_node(nodes: None, cluster: Cluster) -> None:
    small = TARGETS["a100"].placement("small")
    for number in range(3):
        start(cluster, f"small-{number}", small)
    told = [verdict(cluster, f"small-{number}") for number in range(3)]
    assert [answer for answer in told if answer == "cpu"] == ["cpu", "cpu"]
    (waiting,) = [answer for answer in told if answer != "cpu"]
    assert "untolerated taint" in waiting
    assert "Insufficient cpu" in waiting


def test_a_gpu_pod_lands_on_the_type_that_its_target_names(nodes: None, cluster: Cluster) -> None:
    training = TARGETS["a100"].placement("training")
    start(cluster, "first", training)
    start(cluster, "second", training)
    assert verdict(cluster, "first") == "a100"
    assert "1 Insufficient nvidia.com/gpu" in verdict(cluster, "second")  # though the other type has eight free


def test_a_mig_pod_lands_on_the_node_with_slices(nodes: None, cluster: Cluster) -> None:
    training = TARGETS["mig"].placement("training")
    for number in range(8):
        start(cluster, f"slice-{number}", training)
    told = [verdict(cluster, f"slice-{number}") for number in range(8)]
    assert told.count("a100-mig") == 7
    (waiting,) = [answer for answer in told if answer != "a100-mig"]
    assert "Insufficient nvidia.com/mig-1g.10gb" in waiting
