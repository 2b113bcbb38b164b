"""Timing two commands side by side: alternately, in one run, so that both meet the same machine."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Timings:
    """What a command took, a run each: wall and CPU seconds of the whole process and its children."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def alternate(first: list[str], second: list[str], *, rounds: int, folder: Path) -> tuple[Timings, Timings]:
    """Run two commands in turn, after one uncounted run of each."""
    both = (Timings(), Timings())
    for number in range(rounds + 1):
        for command, timings in zip((first, second), both, strict=True):
            wall, cpu = _time(command, folder)
            if number:
                timings.wall.append(wall)
                timings.cpu.append(cpu)
    return both


def _time(command: list[str], folder: Path) -> tuple[float, float]:
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # both with their bytecode cached, as on a user's machine
    subprocess.run(command, cwd=folder, check=True, capture_output=True, env=environment)
    wall, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def show(name: str, ours: Timings, theirs: Timings, *, limit: float) -> None:
    """Print both and the ratio of their medians."""
    for label, timings in (("ours", ours), ("theirs", theirs)):
        wall, cpu = statistics.median(timings.wall), statistics.median(timings.cpu)
        print(f"{name:<24} {label:<7} wall {wall:6.2f} s  cpu {cpu:6.2f} s  (median of {len(timings.wall)})")
    wall_ratio = statistics.median(ours.wall) / statistics.median(theirs.wall)
    cpu_ratio = statistics.median(ours.cpu) / statistics.median(theirs.cpu)
    print(f"{name:<24} ratio   wall {wall_ratio:6.2f}    cpu {cpu_ratio:6.2f}    (to be at most {limit})")
    sys.stdout.flush()
