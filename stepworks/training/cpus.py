"""How many CPUs a process has: a pod sees all of its node, and may use what its limit says."""

from __future__ import annotations

import math
import os
from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
"""Where the control groups are mounted; in a container they are its own."""


def usable_cpus() -> int:
    """How many CPUs this process may use: those that it may run on, and no more than the limit of its container.

    Threads beyond that are of no use: they wait for each other while the kernel holds the container back.
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = _limit(CGROUPS)
    return max(1, count if limit is None else min(count, math.ceil(limit)))


def share_cpus(environment: MutableMapping[str, str], processes: int) -> None:
    """Give each of several processes its share of the CPUs, unless the environment says otherwise.

    Args:
        environment: What the processes are started with; torch reads it when it is imported.
        processes: How many there are on this machine.
    """
    environment.setdefault("OMP_NUM_THREADS", str(max(1, usable_cpus() // processes)))


def _limit(cgroups: Path) -> float | None:
    """The CPU time a second that the control group may use, by version 2 or 1; None for no limit."""
    with suppress(OSError, ValueError):
        quota, period = (cgroups / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    with suppress(OSError, ValueError):
        microseconds = int((cgroups / "cpu" / "cpu.cfs_quota_us").read_text())
        return None if microseconds < 0 else microseconds / int((cgroups / "cpu" / "cpu.cfs_period_us").read_text())
    return None
