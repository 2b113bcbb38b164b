"""What can be seen of a cluster, read once; what may not be looked at is told apart from what is not there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any, TypeVar

from stepworks.errors import AccessDeniedError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.discovery import is_served
from stepworks.kube.api.objects import find, list_objects, list_parts
from stepworks.kube.api.references import Reference, Selection
from stepworks.kube.kinds.manifests import Manifest, labels_of, status_of
from stepworks.kube.preflight.amounts import Amounts, parse_amounts, total

T = TypeVar("T")

_RUNNING = "status.phase!=Succeeded,status.phase!=Failed"


@dataclass(frozen=True)
class Unseen:
    """What may not be looked at.

    Attributes:
        reason: Who misses which permission.
    """

    reason: str


@dataclass(frozen=True)
class Node:
    """What a node has and wants.

    Attributes:
        name: Its name.
        labels: Its labels.
        taints: Its taints as Kubernetes' JSON.
        cordoned: Whether no pod is put there any more.
        allocatable: What it has for pods.
    """

    name: str
    labels: Mapping[str, str]
    taints: tuple[Mapping[str, str], ...]
    cordoned: bool
    allocatable: Amounts


@dataclass(frozen=True)
class Class:
    """A priority class: its value, and whether its pods take the place of others."""

    value: int = 0
    preempts: bool = True


class View:
    """A cluster as the checks see it; each kind of thing is asked for once.

    Args:
        cluster: The cluster, with the namespace of the run.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._found: dict[Reference, Manifest | Unseen | None] = {}

    @cached_property
    def nodes(self) -> list[Node] | Unseen:
        """The nodes."""
        return seen(lambda: list_parts(self.cluster, Selection("v1", "Node"), _node))

    @cached_property
    def used(self) -> Mapping[str, Mapping[int, Amounts]] | Unseen:
        """What pods are guaranteed on each node, by their priority; pods that have ended are none."""
        selection = Selection("v1", "Pod", fields=_RUNNING, everywhere=True)
        pods = seen(lambda: list_parts(self.cluster, selection, _pod))
        if isinstance(pods, Unseen):
            return pods
        by_node: dict[str, dict[int, Amounts]] = {}
        for node, priority, requests in pods:
            if node:
                levels = by_node.setdefault(node, {})
                levels[priority] = total([levels.get(priority, {}), requests])
        return by_node

    @cached_property
    def quotas(self) -> list[Manifest] | Unseen:
        """The ResourceQuotas of the namespace."""
        return self.all_of("v1", "ResourceQuota")

    @cached_property
    def storage_classes(self) -> list[Manifest] | Unseen:
        """The StorageClasses."""
        return self.all_of("storage.k8s.io/v1", "StorageClass")

    @cached_property
    def priority_classes(self) -> Mapping[str, Class] | Unseen:
        """The PriorityClasses by name; the default one is there under the empty name, too."""
        found = self.all_of("scheduling.k8s.io/v1", "PriorityClass")
        if isinstance(found, Unseen):
            return found
        classes = {"": Class()}
        for each in found:
            known = Class(each.get("value", 0), each.get("preemptionPolicy") != "Never")
            classes[each["metadata"]["name"]] = known
            if each.get("globalDefault"):
                classes[""] = known
        return classes

    def all_of(self, api_version: str, kind: str) -> list[Manifest] | Unseen:
        """The objects of a kind in the namespace, or in the cluster; none where the cluster has no such kind."""
        if not is_served(self.cluster, api_version, kind):
            return []
        return seen(lambda: list_objects(self.cluster, Selection(api_version, kind)))

    def find(self, api_version: str, kind: str, name: str) -> Manifest | Unseen | None:
        """An object; None where it or its kind is not there."""
        reference = Reference(api_version, kind, name)
        if reference not in self._found:
            there = is_served(self.cluster, api_version, kind)
            self._found[reference] = seen(lambda: find(self.cluster, reference)) if there else None
        return self._found[reference]


def seen(read: Callable[[], T]) -> T | Unseen:
    """Read something, or say why it may not be read."""
    try:
        return read()
    except AccessDeniedError as error:
        return Unseen(denial(error))


def denial(error: AccessDeniedError) -> str:
    """Who may not do what, in one line: `the ServiceAccount runner of the namespace team may not list nodes`."""
    return error.expected.replace(" may ", " may not ", 1)


def requests_of(pod: Mapping[str, Any]) -> Amounts:
    """What a pod is guaranteed, by its spec, as the scheduler counts it.

    That is the sum of its containers and of the init containers that go on beside them, or what one of the other init
    containers asks for where that is more; with the overhead of its runtime class.
    """
    containers = [_requests(each) for each in pod.get("containers") or []]
    first: Amounts = {}
    for each in pod.get("initContainers") or []:
        if each.get("restartPolicy") == "Always":
            containers.append(_requests(each))
        else:
            asked = _requests(each)
            first = {name: max(first.get(name, Decimal(0)), asked.get(name, Decimal(0))) for name in {*first, *asked}}
    together = total(containers)
    least = {name: max(together.get(name, Decimal(0)), first.get(name, Decimal(0))) for name in {*together, *first}}
    stated = _requests(pod)  # of the pod as a whole, where somebody says so
    return total([least | stated, parse_amounts(pod.get("overhead") or {})])


def _requests(container: Mapping[str, Any]) -> Amounts:
    resources = container.get("resources") or {}
    return parse_amounts({**(resources.get("limits") or {}), **(resources.get("requests") or {})})


def _node(manifest: Manifest) -> Node:
    spec, status = manifest.get("spec") or {}, status_of(manifest)
    allocatable = status.get("allocatable") or status.get("capacity") or {}
    return Node(
        manifest["metadata"]["name"],
        labels_of(manifest),
        tuple(spec.get("taints") or []),
        bool(spec.get("unschedulable")),
        parse_amounts(allocatable),
    )


def _pod(manifest: Manifest) -> tuple[str, int, Amounts]:
    spec = manifest.get("spec") or {}
    requests = requests_of(spec) | {"pods": Decimal(1)}
    return spec.get("nodeName") or "", spec.get("priority") or 0, requests
