"""What of a placement Vertex AI cannot express, and what it would refuse."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from stepworks.placement.placement import Placement
from stepworks.placement.quantity import parse_cpu, parse_memory
from stepworks.placement.scheduling import NodeAffinity
from stepworks.placement.vertex_machines import LARGEST_CPU, LARGEST_MEMORY_GB, counts_of, machine

_GB = 1024**3
"""Google Cloud's machines count their memory in these."""

_LABEL = re.compile(r"[a-z][-a-z0-9_]{0,62}")
_LABEL_VALUE = re.compile(r"[-a-z0-9_]{0,63}")

_NODES = "Vertex has machines, not nodes: leave it out, and name the machine in vertex.machine_type"
_NEVER = {
    "node_selector": _NODES,
    "node_affinity": _NODES,
    "tolerations": _NODES,
    "ephemeral_storage": "give vertex.boot_disk instead",
    "shared_memory": "leave it out; Vertex sizes /dev/shm by the machine",
    "secrets": "leave it out, and read Secret Manager in the step by its service account",
    "config_maps": "leave it out, and give the values as parameters",
    "image_pull_secrets": "leave it out, and let Vertex's service agent read the image's repository",
    "service_account": "give the account's email in vertex.service_account, or to the run",
    "priority_class": "leave it out",
    "queue": "leave it out",
    "annotations": "leave it out",
}
_OF_A_MACHINE = {
    "timeout_seconds": "only a custom job has a timeout",
    "labels": "only a custom job has labels",
    "preemptible": "only a custom job can run on spot machines",
}
"""What needs a custom job, which a step is when it names a machine."""


class Fault(NamedTuple):
    """What is wrong with a field of a placement; `field` is its path."""

    field: tuple[str, ...]
    message: str


def faults_on_vertex(placement: Placement) -> Iterator[Fault]:
    """Say what of a placement Vertex AI cannot express or would refuse."""
    yield from _inexpressible(placement)
    yield from _requests(placement)
    yield from _labels(placement)
    yield from _size(placement)
    yield from _accelerator(placement)


def _inexpressible(placement: Placement) -> Iterator[Fault]:
    for field, advice in _NEVER.items():
        value = getattr(placement, field)
        if value and value != NodeAffinity():
            yield Fault((field,), f"Vertex AI cannot express {field}: {advice}")
    for field, reason in () if placement.vertex else _OF_A_MACHINE.items():
        if getattr(placement, field):
            yield Fault(
                (field,), f"Vertex AI cannot express {field} for a step without a machine, {reason}: give vertex"
            )


def _requests(placement: Placement) -> Iterator[Fault]:
    for name, values in (("cpu", placement.cpu), ("memory", placement.memory)):
        if not values.is_guaranteed:
            message = f"Vertex AI cannot express {name}.request beside a limit: {values.request} must be {values.limit}"
            yield Fault((name, "request"), message)


def _labels(placement: Placement) -> Iterator[Fault]:
    for key, value in placement.labels.items():
        if not _LABEL.fullmatch(key) or not _LABEL_VALUE.fullmatch(value):
            message = f"{key}: {value} is no label of Google Cloud: lowercase letters, digits, dashes and underscores"
            yield Fault(("labels", key), message)


def _size(placement: Placement) -> Iterator[Fault]:
    """What is more than the machine has, or any that Vertex would choose."""
    cpus, memory_gb, where = float(LARGEST_CPU), float(LARGEST_MEMORY_GB), "of the largest machine that Vertex chooses"
    if placement.vertex:
        named = machine(placement.vertex.machine_type)
        if named is None:
            return  # not known here; Vertex will say
        cpus, memory_gb, where = named.cpus, named.memory_gb, f"of {placement.vertex.machine_type}"
    if parse_cpu(placement.cpu.limit) > cpus:
        yield Fault(("cpu", "limit"), f"the CPU limit {placement.cpu.limit} is above the {cpus:g} vCPUs {where}")
    if parse_memory(placement.memory.limit) > memory_gb * _GB:
        message = f"the memory limit {placement.memory.limit} is above the {memory_gb:g} GB {where}"
        yield Fault(("memory", "limit"), message)


def _accelerator(placement: Placement) -> Iterator[Fault]:
    accelerator, vertex = placement.accelerator, placement.vertex
    if accelerator is None:
        if vertex and vertex.accelerator_type:
            message = f"accelerator is missing: how many {vertex.accelerator_type}, as accelerator.count"
            yield Fault(("vertex", "accelerator_type"), message)
        return
    if accelerator.resource != "nvidia.com/gpu":
        message = f"Vertex AI cannot express the accelerator {accelerator.resource}: it has whole GPUs, nvidia.com/gpu"
        yield Fault(("accelerator", "resource"), message)
    if vertex is None or vertex.accelerator_type is None:
        message = "vertex is missing: the machine_type and the accelerator_type that have the accelerator"
        yield Fault(("accelerator",), message)
        return
    counts = counts_of(vertex.machine_type, vertex.accelerator_type)
    if accelerator.count not in counts:
        has = f"{' or '.join(map(str, counts))} {vertex.accelerator_type}"
        message = f"the machine {vertex.machine_type} has {has}, and the count is {accelerator.count}"
        yield Fault(("accelerator", "count"), message)
