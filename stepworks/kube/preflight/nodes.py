"""Whether there are nodes for the pods of a pipeline, and room on them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from stepworks.kube.api.commands import kubectl
from stepworks.kube.diagnosis.scheduling import Obstacle, Unschedulable
from stepworks.kube.preflight.amounts import Amounts, amounts_text, parse_amounts, total
from stepworks.kube.preflight.needs import PodNeed
from stepworks.kube.preflight.report import Check, State, fine, missing, unknown, waits
from stepworks.kube.preflight.view import Node, Unseen, View

_WHOLE = re.compile(r"-?[0-9]+")
_KEEPING_OUT = ("NoSchedule", "NoExecute")
_NO_DEVICE = re.compile(r"cpu|memory|pods|ephemeral-storage|hugepages-.*|attachable-volumes-.*")
_TAINT = "untolerated taint "
_PASSING = "node.kubernetes.io/"
"""How the taints begin by which Kubernetes itself keeps pods from a node for a while: it is not ready, or drained."""
_MOST_FITTING = 100_000
"""Pods that ask for nothing fit any number of times."""


def check_nodes(view: View, need: PodNeed, *, more_may_come: bool = False) -> list[Check]:
    """See whether there are nodes for pods, and whether these have room now.

    Args:
        view: The cluster.
        need: The pods.
        more_may_come: Whether an autoscaler adds nodes; one that is missing then is no fault.
    """
    if need.later:
        told = f"{', '.join(need.later)}: only the run knows"
        return [unknown("nodes", need.who, told, "Give the pipeline's parameters defaults, to have them checked.")]
    nodes = view.nodes
    if isinstance(nodes, Unseen):
        return [unknown("nodes", need.who, nodes.reason, "Let whoever checks list nodes.")]
    requests = parse_amounts(need.requests)
    asked = _asked_text(need, requests)
    obstacles = {node.name: _obstacle(need, requests, node) for node in nodes}
    fitting = [node for node in nodes if not obstacles[node.name]]
    places = sum(_places(node.allocatable, requests) for node in fitting)
    if places < need.together:
        problem = _no_place(need, asked, obstacles, places, nodes)
        doubt = _doubt(need, obstacles, more_may_come=more_may_come)
        return [unknown("nodes", need.who, f"{problem.told}; {doubt}", problem.what_to_do) if doubt else problem]
    room = _check_room(view, need, requests, [node for node in fitting if not _is_away(need, node)])
    told = f"{len(fitting)} of {len(nodes)} nodes fit ({asked})"
    if room.state == State.FINE:
        return [fine("nodes", need.who, f"{told}, {room.told}")]
    return [fine("nodes", need.who, told), room]


def most_on_one_node(view: View, need: PodNeed) -> int | None:
    """How many such pods the node can have that can have most; None where the nodes are not seen."""
    if isinstance(view.nodes, Unseen):
        return None
    requests = parse_amounts(need.requests)
    fitting = [node for node in view.nodes if not _obstacle(need, requests, node)]
    return max((_places(node.allocatable, requests) for node in fitting), default=0)


def _no_place(need: PodNeed, asked: str, obstacles: Mapping[str, str], places: int, nodes: Iterable[Node]) -> Check:
    counted = Counter(each for each in obstacles.values() if each)
    said = Unschedulable(len(obstacles), tuple(Obstacle(what, number) for what, number in counted.items()), "")
    offered = _devices(nodes)
    if places:
        told = f"{need.together} pods at once ask for {asked} each, and there is place for {places} of them"
        return missing("nodes", need.who, told, "Ask for fewer nodes or for less, or add nodes.")
    told = f"no node fits ({asked}): {said}"
    devices = [name for name in need.requests if not _NO_DEVICE.fullmatch(name)]
    if devices and not any(name in offered for name in devices):
        there = ", ".join(f"{name} ({number})" for name, number in offered.items()) or "no accelerators"
        told += f"; the nodes offer {there}"
    return missing("nodes", need.who, told, said.advice(kubectl()))


def _doubt(need: PodNeed, obstacles: Mapping[str, str], *, more_may_come: bool) -> str:
    """Why pods without a node may find one all the same; empty where they do not."""
    if more_may_come:
        return "nodes may be added when a pod asks for them"
    if need.queue:
        return f"Kueue may add a selector and tolerations to what its queue {need.queue} admits"
    taints = [each.partition(_TAINT)[2] for each in obstacles.values() if each.startswith(_TAINT)]
    if any(taint.partition("=")[0] in need.requests for taint in taints):
        return "some clusters let a pod that asks for a device onto the nodes that are tainted by its name"
    return ""


def _asked_text(need: PodNeed, requests: Mapping[str, Decimal]) -> str:
    """What a pod asks of a node: `1 nvidia.com/gpu, 8 cpu, 64Gi memory, gpu-type=a100-80gb`."""
    selector = [f"{key}={value}" for key, value in need.node_selector.items()]
    return ", ".join([*([amounts_text(requests)] if requests else []), *selector]) or "nothing"


def _devices(nodes: Iterable[Node]) -> dict[str, int]:
    """How many of each device the nodes have."""
    offered = total(
        {name: amount for name, amount in node.allocatable.items() if not _NO_DEVICE.fullmatch(name) and amount}
        for node in nodes
    )
    return {name: int(amount) for name, amount in sorted(offered.items())}


def _check_room(view: View, need: PodNeed, requests: Amounts, fitting: Iterable[Node]) -> Check:
    used = view.used
    if isinstance(used, Unseen):
        return unknown("room", need.who, used.reason, "Let whoever checks list pods of all namespaces.")
    places = 0
    for node in fitting:
        levels = {
            level: amounts for level, amounts in used.get(node.name, {}).items() if not _gives_way(view, need, level)
        }
        taken = total(levels.values())
        free = {name: amount - taken.get(name, Decimal(0)) for name, amount in node.allocatable.items()}
        places += _places(free, requests)
    if places >= need.at_once:
        return fine("room", need.who, f"with room for {min(places, _MOST_FITTING)} such pods now")
    told = f"room for {places} of {need.at_once} such pods now"
    return waits(
        "room", need.who, told, "It waits until others end, or nodes come back: kubectl get nodes,pods -A -o wide"
    )


def _gives_way(view: View, need: PodNeed, level: int) -> bool:
    """Whether pods of a priority are ended to make room for these."""
    classes = view.priority_classes
    if isinstance(classes, Unseen):
        return False
    own = classes.get(need.priority_class)
    return own is not None and own.preempts and level < own.value


def _places(free: Mapping[str, Decimal], requests: Mapping[str, Decimal]) -> int:
    """How many pods find room in what is free."""
    counts = [int(free.get(name, Decimal(0)) // amount) for name, amount in requests.items() if amount]
    if "pods" in free:
        counts.append(int(free["pods"]))
    return max(0, min(counts, default=_MOST_FITTING))


def _obstacle(need: PodNeed, requests: Mapping[str, Decimal], node: Node) -> str:
    """Why a node does not fit, in the words of the scheduler; empty if it fits."""
    if not _is_meant(need, node):
        return "didn't match Pod's node affinity/selector"
    for taint in _untolerated(need, node):
        if not taint["key"].startswith(_PASSING):
            value = f"={taint['value']}" if taint.get("value") else ""
            return f"{_TAINT}{taint['key']}{value}"
    lacking = [name for name, amount in requests.items() if amount > node.allocatable.get(name, Decimal(0))]
    # A device says more than the CPUs that go with it.
    lacking.sort(key=lambda name: _NO_DEVICE.fullmatch(name) is not None)
    return f"Insufficient {lacking[0]}" if lacking else ""


def _untolerated(need: PodNeed, node: Node) -> list[Mapping[str, str]]:
    return [
        taint
        for taint in node.taints
        if taint.get("effect") in _KEEPING_OUT and not any(_tolerates(each, taint) for each in need.tolerations)
    ]


def _is_away(need: PodNeed, node: Node) -> bool:
    """Whether a node takes no pods for the moment: it is cordoned, or Kubernetes itself has tainted it."""
    return node.cordoned or any(taint["key"].startswith(_PASSING) for taint in _untolerated(need, node))


def _is_meant(need: PodNeed, node: Node) -> bool:
    if any(node.labels.get(key) != value for key, value in need.node_selector.items()):
        return False
    return not need.node_terms or any(_meets(term, node) for term in need.node_terms)


def _meets(term: Mapping[str, Any], node: Node) -> bool:
    labels = [(each, node.labels) for each in term.get("matchExpressions") or []]
    fields = [(each, {"metadata.name": node.name}) for each in term.get("matchFields") or []]
    return bool(labels or fields) and all(meets_expression(each, values) for each, values in (*labels, *fields))


def meets_expression(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether labels meet a requirement of a selector, as Kubernetes has them for nodes."""
    key, operator = str(expression["key"]), str(expression["operator"])
    values: Sequence[str] = expression.get("values") or []
    present = labels.get(key)
    if operator == "In":
        return present in values
    if operator == "NotIn":
        return present not in values
    if operator in ("Exists", "DoesNotExist"):
        return (present is not None) == (operator == "Exists")
    if operator in ("Gt", "Lt") and values:
        if not (_WHOLE.fullmatch(present or "") and _WHOLE.fullmatch(values[0])):
            return False
        difference = int(present or "") - int(values[0])
        return difference > 0 if operator == "Gt" else difference < 0
    return False  # the API server takes no other pod


def _tolerates(toleration: Mapping[str, Any], taint: Mapping[str, str]) -> bool:
    key = str(toleration.get("key") or "")
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if key and key != taint["key"]:
        return False
    if toleration.get("operator") == "Exists":
        return True
    return bool(key) and str(toleration.get("value") or "") == str(taint.get("value") or "")
