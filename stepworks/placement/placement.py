"""A placement: where a task runs and with what, whatever the pipeline.

Placements are data. They are checked when they are built, so that a mistake is told when the target's file is
read and not when a pod has waited an hour for a node.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from stepworks.placement.quantity import parse_cpu, parse_memory

AccessMode = Literal["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"]


class _Setting(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Accelerator(_Setting):
    """An extended resource of the node, for example one `nvidia.com/gpu`; its request equals its limit."""

    resource: str = Field(pattern=r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$")
    count: int = Field(ge=1)


class Range(_Setting):
    """What a container is guaranteed (`request`) and the most that it may use (`limit`)."""

    request: str
    limit: str

    def _check_order(self, parse: Callable[[str], Any]) -> None:
        if parse(self.request) > parse(self.limit):
            raise ValueError(f"the request {self.request} is above the limit {self.limit}")


class CpuRange(Range):
    """CPU in cores, `2` or `500m`."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._check_order(parse_cpu)
        return self


class MemoryRange(Range):
    """Memory, `512Mi` or `16Gi`."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._check_order(parse_memory)
        return self


class Toleration(_Setting):
    """A taint that the pod puts up with."""

    key: str
    operator: Literal["Equal", "Exists"] = "Equal"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.operator == "Exists" and self.value is not None:
            raise ValueError("a toleration with the operator Exists has no value")
        if self.operator == "Equal" and self.value is None:
            raise ValueError("a toleration with the operator Equal needs a value; to tolerate any, use Exists")
        return self


class Retry(_Setting):
    """How often a failed task is tried again, and how long it waits before: seconds, times `factor` each try."""

    count: int = Field(ge=1, le=20)
    backoff_seconds: int = Field(default=30, ge=1)
    factor: float = Field(default=2.0, ge=1.0)
    maximum_seconds: int = Field(default=600, ge=1)


class Mount(_Setting):
    """A PersistentVolumeClaim in the task's container.

    Attributes:
        claim: The name of the claim.
        mount_path: Where it is mounted; absolute.
        access_mode: The claim's access mode, as its owner made it.
        read_only: Whether the task only reads. A ReadOnlyMany claim can be mounted in no other way.
        sub_path: A folder in the volume, relative; empty for the whole volume.
    """

    claim: str = Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
    mount_path: str = Field(pattern=r"^/.+")
    access_mode: AccessMode
    read_only: bool = False
    sub_path: str = Field(default="", pattern=r"^([^/].*)?$")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.access_mode == "ReadOnlyMany" and not self.read_only:
            raise ValueError(f"the claim {self.claim} is ReadOnlyMany, so read_only must be true")
        return self


class Placement(_Setting):
    """Where a task runs, and with what.

    Attributes:
        cpu: CPU request and limit.
        memory: Memory request and limit.
        accelerator: The accelerator, if any.
        node_selector: Labels that the node must have.
        tolerations: Taints of the node that the pod puts up with.
        retry: How often a failed task is tried again.
        timeout_seconds: After how long the pod is ended.
        cache: Whether an earlier result for the same inputs is taken. A task with side effects must not.
    """

    cpu: CpuRange
    memory: MemoryRange
    accelerator: Accelerator | None = None
    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    retry: Retry | None = None
    timeout_seconds: int | None = Field(default=None, ge=1)
    cache: bool = True

    @field_validator("node_selector", mode="after")
    @classmethod
    def _check_selector(cls, value: dict[str, str]) -> dict[str, str]:
        if any(not key or not text for key, text in value.items()):
            raise ValueError("a node selector needs a label and a value")
        return value

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.accelerator and not (self.node_selector and self.tolerations):
            raise ValueError(
                "a placement with an accelerator needs a node_selector and tolerations: without them the pod "
                "waits for ever beside a tainted node, or takes an accelerator of another type"
            )
        return self
