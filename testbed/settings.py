"""What a test bed consists of: the generation of its controllers, its nodes, and what its images run."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Generation = Literal["older", "newer"]
GENERATIONS: Mapping[Generation, Mapping[str, str]] = {
    "older": {"kserve": "kserve-0.17", "trainer": "trainer-2.1"},
    "newer": {"kserve": "kserve-0.20", "trainer": "trainer-2.3"},
}
"""The modules of each generation: KServe 0.17, Trainer 2.1, JobSet 0.10; and KServe 0.20, Trainer 2.3, JobSet 0.12."""

Controller = Literal[
    "jobset",
    "trainer",
    "training-operator",
    "kserve",
    "argo",
    "keda",
    "keda-metrics",
    "prometheus-adapter",
    "traefik",
    "knative",
]
ALL_CONTROLLERS: tuple[Controller, ...] = ("jobset", "trainer", "training-operator", "kserve")


@dataclass(frozen=True)
class Node:
    """A node of a test bed.

    Attributes:
        name: Its name.
        labels: Its labels, beside those that every node has.
        taints: Its taints, as `key=value:effect`.
        capacity: What it offers, `{"nvidia.com/gpu": "4"}`, beside `cpu`, `memory` and `pods`.
    """

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[str, ...] = ()
    capacity: Mapping[str, str] = field(default_factory=dict)

    def full_capacity(self) -> dict[str, str]:
        """What it offers, with the default CPU, memory and number of pods."""
        return {"cpu": "32", "memory": "128Gi", "ephemeral-storage": "500Gi", "pods": "110", **self.capacity}

    def taint_objects(self) -> list[dict[str, str]]:
        """Its taints as Kubernetes writes them."""
        objects = []
        for taint in self.taints:
            pair, _, effect = taint.rpartition(":")
            key, _, value = pair.partition("=")
            objects.append({"key": key, "effect": effect, **({"value": value} if value else {})})
        return objects


GPU_TAINTS = ("gpu=true:NoSchedule", "nvidia.com/gpu=true:NoSchedule")
"""How the nodes of the shipped targets keep pods away that want no GPU."""


def gpu_node(name: str, *, gpu_type: str = "a100-80gb", resource: str = "nvidia.com/gpu", count: int = 4) -> Node:
    """A node with GPUs, labelled and tainted as the shipped targets expect it."""
    return Node(name, {"gpu-type": gpu_type}, GPU_TAINTS, {resource: str(count)})


@dataclass(frozen=True)
class Image:
    """What a process node runs for an image.

    Attributes:
        pattern: The images it stands for, with `*` for any text.
        command: Its entry point.
        arguments: What follows the entry point where a pod says nothing.
        variables: Its environment variables.
    """

    pattern: str
    command: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)

    def to_object(self) -> dict[str, Any]:
        """As the process node reads it."""
        return {
            "image": self.pattern,
            "command": list(self.command),
            "args": list(self.arguments),
            "env": dict(self.variables),
        }


def this_environment(pattern: str = "*/stepworks/*") -> Image:
    """Images that stand for the virtual environment that this runs in."""
    programs = Path(sys.executable).parent
    path = f"{programs}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return Image(pattern, variables={"VIRTUAL_ENV": str(programs.parent), "PATH": path})


def alpine() -> Image:
    """The image with which the training operator has workers wait for their master's name."""
    programs = Path(__file__).parent / "images" / "alpine"
    return Image("alpine:*", variables={"PATH": f"{programs}:/usr/sbin:/usr/bin:/sbin:/bin"})


@dataclass(frozen=True)
class Settings:
    """What a test bed consists of.

    Attributes:
        generation: Which versions of the controllers run.
        controllers: Which controllers run on top of Kubernetes' own.
        process_nodes: Nodes that really run a pod's containers, as processes of this machine.
        images: What those run; without an entry an image is missing.
        isolation: How they run: with `namespaces`, as root on Linux, each pod has an address, a host name, mounts
            and a memory limit of its own; with `shared` pods are plain processes. `auto` takes namespaces where it can.
        simulation: Whether kwok plays the kubelet of nodes that are made later by `Bed.add_simulated_nodes`.
        audit: Whether the API server writes down what ServiceAccounts ask it for, which `Bed.audited` reads.
    """

    generation: Generation = "newer"
    controllers: tuple[Controller, ...] = ALL_CONTROLLERS
    process_nodes: tuple[Node, ...] = (Node("process-cpu"), gpu_node("process-gpu"))
    images: tuple[Image, ...] = field(default_factory=lambda: (this_environment(), alpine()))
    isolation: Literal["auto", "namespaces", "shared"] = "auto"
    simulation: bool = True
    audit: bool = False

    def modules(self) -> list[str]:
        """The folders of testbed/modules that it is built from."""
        versions = GENERATIONS[self.generation]
        modules = ["etcd", "kubernetes"]
        modules += ["kwok"] if self.simulation else []
        modules += ["process-node"] if self.process_nodes else []
        modules += [versions["trainer"]] if {"jobset", "trainer"} & set(self.controllers) else []
        modules += ["trainer-2.3"] if "training-operator" in self.controllers else []
        modules += [versions["kserve"]] if "kserve" in self.controllers else []
        modules += ["argo"] if "argo" in self.controllers else []
        modules += ["keda"] if {"keda", "keda-metrics"} & set(self.controllers) else []
        modules += ["prometheus-adapter"] if "prometheus-adapter" in self.controllers else []
        modules += ["knative"] if "knative" in self.controllers else []
        modules += ["traefik"] if "traefik" in self.controllers else []
        return list(dict.fromkeys(modules))
