"""Machines of Google Cloud as Vertex AI offers them: their CPUs, their memory, and the accelerators that they carry."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

LARGEST_CPU = 96
"""The most CPUs that Vertex finds a machine for when a step names none."""

LARGEST_MEMORY_GB = 624
"""The most memory, in GB, that Vertex finds a machine for when a step names none."""


@dataclass(frozen=True)
class Machine:
    """A machine type.

    Attributes:
        cpus: Its vCPUs.
        memory_gb: Its memory in GB.
    """

    cpus: int
    memory_gb: float


@dataclass(frozen=True)
class AcceleratedMachine(Machine):
    """A machine type that comes with accelerators.

    Attributes:
        accelerator: What Vertex calls them.
        count: How many; they are taken whole.
    """

    accelerator: str
    count: int


ACCELERATED_MACHINES: Mapping[str, AcceleratedMachine] = MappingProxyType(
    {
        "a2-highgpu-1g": AcceleratedMachine(12, 85, "NVIDIA_TESLA_A100", 1),
        "a2-highgpu-2g": AcceleratedMachine(24, 170, "NVIDIA_TESLA_A100", 2),
        "a2-highgpu-4g": AcceleratedMachine(48, 340, "NVIDIA_TESLA_A100", 4),
        "a2-highgpu-8g": AcceleratedMachine(96, 680, "NVIDIA_TESLA_A100", 8),
        "a2-megagpu-16g": AcceleratedMachine(96, 1360, "NVIDIA_TESLA_A100", 16),
        "a2-ultragpu-1g": AcceleratedMachine(12, 170, "NVIDIA_A100_80GB", 1),
        "a2-ultragpu-2g": AcceleratedMachine(24, 340, "NVIDIA_A100_80GB", 2),
        "a2-ultragpu-4g": AcceleratedMachine(48, 680, "NVIDIA_A100_80GB", 4),
        "a2-ultragpu-8g": AcceleratedMachine(96, 1360, "NVIDIA_A100_80GB", 8),
        "a3-highgpu-1g": AcceleratedMachine(26, 234, "NVIDIA_H100_80GB", 1),
        "a3-highgpu-2g": AcceleratedMachine(52, 468, "NVIDIA_H100_80GB", 2),
        "a3-highgpu-4g": AcceleratedMachine(104, 936, "NVIDIA_H100_80GB", 4),
        "a3-highgpu-8g": AcceleratedMachine(208, 1872, "NVIDIA_H100_80GB", 8),
        "a3-edgegpu-8g": AcceleratedMachine(208, 1872, "NVIDIA_H100_80GB", 8),
        "a3-megagpu-8g": AcceleratedMachine(208, 1872, "NVIDIA_H100_MEGA_80GB", 8),
        "a3-ultragpu-8g": AcceleratedMachine(224, 2952, "NVIDIA_H200_141GB", 8),
        "a4-highgpu-8g": AcceleratedMachine(224, 3968, "NVIDIA_B200", 8),
        "g2-standard-4": AcceleratedMachine(4, 16, "NVIDIA_L4", 1),
        "g2-standard-8": AcceleratedMachine(8, 32, "NVIDIA_L4", 1),
        "g2-standard-12": AcceleratedMachine(12, 48, "NVIDIA_L4", 1),
        "g2-standard-16": AcceleratedMachine(16, 64, "NVIDIA_L4", 1),
        "g2-standard-24": AcceleratedMachine(24, 96, "NVIDIA_L4", 2),
        "g2-standard-32": AcceleratedMachine(32, 128, "NVIDIA_L4", 1),
        "g2-standard-48": AcceleratedMachine(48, 192, "NVIDIA_L4", 4),
        "g2-standard-96": AcceleratedMachine(96, 384, "NVIDIA_L4", 8),
    }
)
"""The machine types that come with accelerators, as Compute Engine lists them."""

ATTACHED_TO_N1: Mapping[str, Mapping[int, int]] = MappingProxyType(
    {
        "NVIDIA_TESLA_T4": {1: 48, 2: 48, 4: 96},
        "NVIDIA_TESLA_P4": {1: 24, 2: 48, 4: 96},
        "NVIDIA_TESLA_P100": {1: 16, 2: 32, 4: 96},
        "NVIDIA_TESLA_V100": {1: 12, 2: 24, 4: 48, 8: 96},
    }
)
"""Accelerators that are attached to machines of the family N1: for each count, the most vCPUs of the machine."""

_N1_SIZES = (4, 8, 16, 32, 64, 96)
_N1_MEMORY_GB = {"n1-standard": 3.75, "n1-highmem": 6.5, "n1-highcpu": 0.9}
_MEMORY_GB_OF_A_CPU = _N1_MEMORY_GB | {
    "e2-standard": 4, "e2-highmem": 8, "e2-highcpu": 1,
    "n2-standard": 4, "n2-highmem": 8, "n2-highcpu": 1,
    "n2d-standard": 4, "n2d-highmem": 8, "n2d-highcpu": 1,
    "c2-standard": 4, "c2d-standard": 4, "c2d-highmem": 8, "c2d-highcpu": 2,
    "c3-standard": 4, "c3-highmem": 8, "c3-highcpu": 2,
}  # fmt: skip
_SIZED = re.compile(r"(?P<family>[a-z0-9]+-[a-z]+)-(?P<cpus>[0-9]+)")


def machine(machine_type: str) -> Machine | None:
    """The machine of a type; None where its size is not known here."""
    if machine_type in ACCELERATED_MACHINES:
        return ACCELERATED_MACHINES[machine_type]
    match = _SIZED.fullmatch(machine_type)
    if not match or match["family"] not in _MEMORY_GB_OF_A_CPU:
        return None
    cpus = int(match["cpus"])
    return Machine(cpus, cpus * _MEMORY_GB_OF_A_CPU[match["family"]])


def known_accelerators() -> list[str]:
    """What Vertex calls the accelerators that are known here."""
    return sorted({each.accelerator for each in ACCELERATED_MACHINES.values()} | set(ATTACHED_TO_N1))


def counts_of(machine_type: str, accelerator_type: str) -> list[int]:
    """How many of an accelerator a machine can have; empty if none."""
    accelerated = ACCELERATED_MACHINES.get(machine_type)
    if accelerated:
        return [accelerated.count] if accelerated.accelerator == accelerator_type else []
    plain = machine(machine_type)
    if plain is None or not machine_type.startswith("n1-"):
        return []
    return [count for count, most in ATTACHED_TO_N1.get(accelerator_type, {}).items() if plain.cpus <= most]


def machines_with(accelerator_type: str) -> list[str]:
    """The machine types that have an accelerator; of the family N1 those of the usual sizes."""
    n1 = [f"{family}-{size}" for family in _N1_MEMORY_GB for size in _N1_SIZES]
    return [name for name in [*ACCELERATED_MACHINES, *n1] if counts_of(name, accelerator_type)]
