"""What an IR file says of executors, typed: image, command, resources, accelerator and Kubernetes settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from stepworks.kubeflow.ir.source import JsonPath, Source


@dataclass(frozen=True, slots=True)
class Quantity:
    """An amount of CPU or memory.

    Attributes:
        text: As the IR has it: `500m`, `16Gi`, or a placeholder.
        value: Cores or bytes; None for a placeholder, or for what KFP does not take.
        location: Where it stands in the IR.
    """

    text: str
    value: float | None
    location: JsonPath


@dataclass(frozen=True, slots=True)
class Accelerator:
    """An accelerator of a container; KFP sets it as a limit, which Kubernetes takes as the request.

    Attributes:
        type: The resource name on Kubernetes, the accelerator type on Vertex, or a placeholder; empty when missing.
        count_text: As the IR has it; empty when missing.
        count: The number, where it is a whole one.
        location: Where it stands in the IR.
    """

    type: str
    count_text: str
    count: int | None
    location: JsonPath


@dataclass(frozen=True, slots=True)
class Resources:
    """What a container is guaranteed and the most that it may use; None for what is not set."""

    cpu_request: Quantity | None = None
    cpu_limit: Quantity | None = None
    memory_request: Quantity | None = None
    memory_limit: Quantity | None = None


@dataclass(frozen=True, slots=True)
class Toleration:
    """A taint that the pod puts up with; `dynamic` when a parameter gives it at run time."""

    key: str
    operator: str
    value: str
    effect: str
    dynamic: bool
    location: JsonPath


@dataclass(frozen=True, slots=True)
class Mount:
    """A claim in the container.

    Attributes:
        claim: The claim's name where the IR has it; empty when it is only known at run time.
        source: What gives the name.
        path: Where it is mounted.
        sub_path: The folder of the volume; empty for all of it.
        location: Where it stands in the IR.
    """

    claim: str
    source: Source
    path: str
    sub_path: str
    location: JsonPath


@dataclass(frozen=True, slots=True)
class ObjectReference:
    """A Secret or a ConfigMap that the pod uses; the name is empty when it is only known at run time."""

    kind: Literal["secretAsEnv", "secretAsVolume", "configMapAsEnv", "configMapAsVolume", "imagePullSecret"]
    name: str
    location: JsonPath


@dataclass(frozen=True, slots=True)
class Kubernetes:
    """What the platform document says of an executor.

    Attributes:
        tolerations: The taints that the pod puts up with.
        node_selector: The labels that the node must have.
        dynamic_selector: Whether a parameter gives the selector at run time.
        node_affinity: The terms of the node affinity, as the IR has them.
        mounts: The claims that are mounted.
        references: The Secrets and ConfigMaps that are used.
        timeout_seconds: After how long the pod is ended.
        labels: Labels of the pod.
        annotations: Annotations of the pod.
        raw: Everything that the document says of the executor.
        location: Where it stands in the IR.
    """

    tolerations: tuple[Toleration, ...]
    node_selector: Mapping[str, str]
    dynamic_selector: bool
    node_affinity: tuple[Mapping[str, Any], ...]
    mounts: tuple[Mount, ...]
    references: tuple[ObjectReference, ...]
    timeout_seconds: int | None
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    raw: Mapping[str, Any]
    location: JsonPath


ExecutorKind = Literal["container", "importer", "resolver", "customJob", "unknown"]


@dataclass(frozen=True, slots=True)
class Executor:
    """What runs a task.

    Attributes:
        label: Its name in the IR.
        kind: What it is. An importer has no container.
        image: The image reference; empty for what has no container.
        command: The command, then `args`, as the IR has them.
        args: The arguments of the command.
        env: Name and value of each environment variable.
        resources: CPU and memory.
        accelerator: The accelerator, if any.
        kubernetes: What the platform document says of it; None when it says nothing.
        raw: Everything that the deployment says of it.
        location: Where it stands in the IR.
    """

    label: str
    kind: ExecutorKind
    image: str
    command: tuple[str, ...]
    args: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    resources: Resources
    accelerator: Accelerator | None
    kubernetes: Kubernetes | None
    raw: Mapping[str, Any]
    location: JsonPath
