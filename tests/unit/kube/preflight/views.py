"""A view of a cluster that was read before: what the checks see, without the cluster."""

from typing import Any

from stepworks.kube.api.cluster import Cluster
from stepworks.kube.preflight.amounts import parse_amounts
from stepworks.kube.preflight.needs import PodNeed
from stepworks.kube.preflight.view import Node, View

GPU = "nvidia.com/gpu"


def view(**seen: Any) -> View:
    """A view with some of its properties as they were read."""
    made = View(Cluster(None, "team"))
    made.__dict__.update({"priority_classes": {}, "used": {}, **seen})
    return made


def node(name: str = "node", *, taints: tuple[dict[str, str], ...] = (), cordoned: bool = False, **fields: Any) -> Node:
    """A node with 8 CPUs, 32 GiB and room for 10 pods."""
    allocatable = {"cpu": "8", "memory": "32Gi", "pods": "10", **fields.get("allocatable", {})}
    return Node(name, fields.get("labels", {}), taints, cordoned, parse_amounts(allocatable))


def pods(**fields: Any) -> PodNeed:
    """Pods of the step `train` that ask for one CPU."""
    return PodNeed(**{"steps": ["train"], "requests": {"cpu": "1"}, "limits": {"cpu": "1"}, **fields})
