"""A placement: where a task runs and with what, whatever the pipeline.

Placements are data. They are checked when they are built, so that a mistake is told when the target's file is
read and not when a pod has waited an hour for a node.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from stepworks.placement.accelerators import Accelerator
from stepworks.placement.names import DnsLabel, LabelKey, LabelValue, ObjectName
from stepworks.placement.quantity import parse_memory
from stepworks.placement.resources import CpuRange, MemoryRange, StorageRange
from stepworks.placement.scheduling import NodeAffinity, Retry, Toleration
from stepworks.placement.storage import ConfigMapSource, SecretSource, Size
from stepworks.placement.vertex import VertexSettings
from stepworks.placement.volumes import Volume, file_volumes, find_clash
from stepworks.settings_file import Setting

INFERENCE_HEADROOM = 1.5
"""The least that an inference placement's memory limit is above its request.

A server is scheduled by what it holds at rest, and needs more for moments: while a model loads, its file and the
model built from it are both in memory, and a large batch comes on top. A limit near the request ends the server
just then, and it starts again only to load again.
"""

PRIORITY_CLASS_LABEL = "stepworks.dev/priority-class"
"""The pod label that stands for a priority class where a pod's cannot be set, as in a KFP task."""

QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
"""The label by which Kueue finds the LocalQueue of a pod, or of the object that owns pods."""

SIDECAR_ANNOTATION = "sidecar.istio.io/inject"

PROCESSES_VARIABLE = "PET_NPROC_PER_NODE"
"""The environment variable from which torchrun takes its --nproc-per-node."""

_RESERVED_LABELS = {PRIORITY_CLASS_LABEL: "priority_class", QUEUE_LABEL: "queue"}


class Placement(Setting):
    """Where a task runs, and with what.

    Attributes:
        workload: What the task does, which decides the rules that its resources must keep. `training`: CPU and
            memory requests equal limits, so that a node under pressure evicts others first, and no sidecar of
            Istio. `inference`: the memory limit is at least 1.5 times the request. `general`: neither.
        cpu: CPU request and limit.
        memory: Memory request and limit.
        ephemeral_storage: Request and limit of the node's disk.
        accelerator: The accelerator, if any.
        processes: How many processes a pod runs; without it one for each accelerator, or one.
        node_selector: Labels that the node must have.
        node_affinity: Which nodes the pod must and would rather run on, beyond the selector.
        tolerations: Taints of the node that the pod puts up with.
        preemptible: Whether the nodes may be taken away at any time, as spot machines are; it needs a retry.
        shared_memory: Size of `/dev/shm`, where data loaders hand over batches; without it the container runtime's
            64 MiB. It counts against the memory limit.
        secrets: Secrets as environment variables or files.
        config_maps: ConfigMaps as environment variables or files.
        image_pull_secrets: Secrets by which the image is pulled.
        service_account: The ServiceAccount of the pod.
        priority_class: The PriorityClass of the pod.
        queue: The LocalQueue of Kueue that admits the pod.
        labels: Further labels of the pod.
        annotations: Further annotations of the pod.
        retry: How often a failed task is tried again.
        timeout_seconds: After how long the pod is ended.
        cache: Whether an earlier result for the same inputs is taken. A task with side effects must not.
        vertex: The machine on Vertex AI; for targets with the backend vertex only.
    """

    workload: Literal["general", "training", "inference"] = "general"
    cpu: CpuRange
    memory: MemoryRange
    ephemeral_storage: StorageRange | None = None
    accelerator: Accelerator | None = None
    processes: int | None = Field(default=None, ge=1, strict=True)
    node_selector: dict[LabelKey, LabelValue] = Field(default_factory=dict)
    node_affinity: NodeAffinity = NodeAffinity()
    tolerations: tuple[Toleration, ...] = ()
    preemptible: bool = False
    shared_memory: Size | None = None
    secrets: tuple[SecretSource, ...] = ()
    config_maps: tuple[ConfigMapSource, ...] = ()
    image_pull_secrets: tuple[ObjectName, ...] = ()
    service_account: ObjectName | None = None
    priority_class: DnsLabel | None = None
    queue: DnsLabel | None = None
    labels: dict[LabelKey, LabelValue] = Field(default_factory=dict)
    annotations: dict[LabelKey, str] = Field(default_factory=dict)
    retry: Retry | None = None
    timeout_seconds: int | None = Field(default=None, ge=1, strict=True)
    cache: bool = True
    vertex: VertexSettings | None = None

    @property
    def volumes(self) -> list[Volume]:
        """What it mounts by itself, the claims of a task left out."""
        return file_volumes(self.secrets, self.config_maps, shared_memory=self.shared_memory is not None)

    @property
    def process_count(self) -> int:
        """How many processes a pod runs: as stated, or one for each accelerator, or one."""
        return self.processes or (self.accelerator.count if self.accelerator else 1)

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that follow from the placement, besides those of Secrets and ConfigMaps."""
        return {PROCESSES_VARIABLE: str(self.process_count)} if self.process_count > 1 else {}

    @property
    def pod_annotations(self) -> dict[str, str]:
        """The pod's annotations: those given, and for training that Istio injects no sidecar.

        A sidecar outlives the training process, so that its Job never completes, and it comes between the
        processes of one job, which speak protocols of their own. A placement that gives the annotation itself
        keeps its value.
        """
        stated = {SIDECAR_ANNOTATION: "false"} if self.workload == "training" else {}
        return {**stated, **self.annotations}

    @model_validator(mode="after")
    def _check_workload(self) -> Self:
        for name, values in (("cpu", self.cpu), ("memory", self.memory)):
            if self.workload == "training" and not values.is_guaranteed:
                raise ValueError(
                    f"{name} has the request {values.request} and the limit {values.limit}, and for workload: training "
                    f"they must be equal: a pod above its request is evicted first when its node runs short"
                )
        if self.workload == "inference" and self.memory.headroom < INFERENCE_HEADROOM:
            raise ValueError(
                f"memory has the request {self.memory.request} and the limit {self.memory.limit}, and for workload: "
                f"inference the limit must be at least {INFERENCE_HEADROOM} times the request: a server needs more "
                f"than at rest while it loads a model"
            )
        if self.shared_memory and parse_memory(self.shared_memory) >= parse_memory(self.memory.limit):
            raise ValueError(
                f"shared_memory is {self.shared_memory} and must be below the memory limit {self.memory.limit}, "
                f"against which it counts"
            )
        return self

    @model_validator(mode="after")
    def _check_accelerator(self) -> Self:
        accelerator = self.accelerator
        if accelerator is None:
            return self
        if accelerator.mig_profile and self.process_count != 1:
            raise ValueError(
                f"processes is {self.process_count} and must be 1 with {accelerator.resource}: a MIG slice is one "
                f"device, and NCCL joins no two processes on it"
            )
        if self.vertex:
            if not self.vertex.accelerator_type:
                raise ValueError("vertex.accelerator_type is missing: what Vertex calls the accelerator")
            return self
        if not (self.node_selector or self.node_affinity.required) or not self.tolerations:
            raise ValueError(
                f"the accelerator {accelerator.resource} needs a node_selector (or a required node_affinity) and "
                f"tolerations: without them the pod waits for ever beside a tainted node, or takes an accelerator of "
                f"another type"
            )
        if not any(each.admits(accelerator.taint_keys) for each in self.tolerations):
            tolerated = ", ".join(
                f"{each.key or 'any key'} ({each.effect or 'any effect'})" for each in self.tolerations
            )
            raise ValueError(
                f"tolerations has {tolerated}, and for {accelerator.resource} one of them must tolerate the key "
                f"{' or '.join(sorted(accelerator.taint_keys))}, by which its nodes are tainted, with the effect "
                f"NoSchedule or any"
            )
        return self

    @model_validator(mode="after")
    def _check_pod(self) -> Self:
        if self.preemptible and self.retry is None:
            raise ValueError("preemptible is true and retry is missing: a node that is taken away would end the run")
        for label, field in _RESERVED_LABELS.items():
            if label in self.labels:
                raise ValueError(f"labels has {label}, which is written by {field}: give {field} instead")
        clash = find_clash(self.volumes)
        if clash:
            raise ValueError(clash)
        return self
