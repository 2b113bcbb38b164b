"""CPU, memory and local disk of a container: what it is guaranteed, and the most that it may use."""

from __future__ import annotations

from decimal import Decimal
from typing import Self

from pydantic import ConfigDict, model_validator

from stepworks.placement.quantity import parse_cpu, parse_memory
from stepworks.settings_file import Setting


class Range(Setting):
    """What a container is guaranteed (`request`) and the most that it may use (`limit`)."""

    # A number in YAML is taken as its text: `limit: 2` is as plain as `limit: "2"`.
    model_config = ConfigDict(coerce_numbers_to_str=True)

    request: str
    limit: str

    @staticmethod
    def amount(text: str) -> Decimal:
        """The quantity as a number, in the resource's base unit; ValueError if it is none."""
        raise NotImplementedError

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        request, limit = self.amount(self.request), self.amount(self.limit)
        if request <= 0:
            raise ValueError(f"the request {self.request} must be above 0")
        if request > limit:
            raise ValueError(f"the request {self.request} is above the limit {self.limit}")
        return self

    @property
    def is_guaranteed(self) -> bool:
        """Whether the request equals the limit, whatever units they are written in."""
        return self.amount(self.request) == self.amount(self.limit)

    @property
    def headroom(self) -> float:
        """How many times the request the limit is."""
        return float(self.amount(self.limit) / self.amount(self.request))


class CpuRange(Range):
    """CPU in cores, `2` or `500m`, in whole thousandths: Kubernetes knows no smaller part of a core."""

    @staticmethod
    def amount(text: str) -> Decimal:
        """The quantity in cores; ValueError if it is none, or finer than a thousandth."""
        cores = parse_cpu(text)
        if cores * 1000 % 1:
            raise ValueError(f"{text} is finer than a thousandth of a core, which is the least that Kubernetes counts")
        return cores


class MemoryRange(Range):
    """Memory, `512Mi` or `16Gi`, in whole numbers."""

    @staticmethod
    def amount(text: str) -> Decimal:
        """The quantity in bytes."""
        return Decimal(parse_memory(text))


class StorageRange(MemoryRange):
    """Disk of the node, `20Gi`: the container's own files, its logs and its emptyDir volumes."""
