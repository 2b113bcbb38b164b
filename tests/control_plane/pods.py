"""The pods of a test's namespace, and what simulated nodes are told to make of them."""

from __future__ import annotations

from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import list_objects, patch
from stepworks.kube.api.references import Reference, Selection
from stepworks.kube.kinds.manifests import Manifest
from tests.waiting import wait_for


def pods(cluster: Cluster, *phases: str) -> list[Manifest]:
    """The pods of the namespace, in these phases if any are named."""
    found = list_objects(cluster, Selection("v1", "Pod"))
    return [each for each in found if not phases or each.get("status", {}).get("phase") in phases]


def holding(cluster: Cluster) -> list[str]:
    """The names of the pods that hold something of a node: those that have not ended, nor are being deleted."""
    held = pods(cluster, "Pending", "Running")
    return [each["metadata"]["name"] for each in held if not each["metadata"].get("deletionTimestamp")]


def running(cluster: Cluster, *, besides: tuple[str, ...] = (), count: int = 1) -> list[str]:
    """The names of the pods that run and are not among others, as soon as there are so many."""

    def look() -> list[str]:
        names = [each["metadata"]["name"] for each in pods(cluster, "Running")]
        found = [name for name in names if name not in besides]
        return found if len(found) >= count else []

    return wait_for(f"{count} pods run" if count > 1 else "a pod runs", look)


def let_succeed(cluster: Cluster, *names: str) -> None:
    """Let pods that were to run for ever come to their good end."""
    annotations = {"testbed.stepworks.dev/outcome": "succeeded"}
    for name in names:
        patch(cluster, Reference("v1", "Pod", name), {"metadata": {"annotations": annotations}})
