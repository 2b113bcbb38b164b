"""How many CPUs a process has."""

import os
from pathlib import Path

import pytest

from stepworks.training.cpus import share_cpus, usable_cpus


@pytest.fixture(autouse=True)
def cgroups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The control groups of a container on a node with sixteen CPUs."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(16)), raising=False)
    monkeypatch.setattr("stepworks.training.cpus.CGROUPS", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("files", "count"),
    [
        ({}, 16),
        ({"cpu.max": "max 100000\n"}, 16),
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "250000 100000\n"}, 3),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "6400000 100000\n"}, 16),
        ({"cpu.max": "nothing that is known"}, 16),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 16),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
    ],
)
def test_the_limit_of_the_container_counts(cgroups: Path, files: dict[str, str], count: int) -> None:
    for name, content in files.items():
        (cgroups / name).parent.mkdir(exist_ok=True)
        (cgroups / name).write_text(content)
    assert usable_cpus() == count


@pytest.mark.parametrize(("processes", "threads"), [(1, "16"), (3, "5"), (32, "1")])
def test_each_process_has_its_share_unless_it_is_told_another(processes: int, threads: str) -> None:
    environment: dict[str, str] = {}
    share_cpus(environment, processes)
    assert environment == {"OMP_NUM_THREADS": threads}
    share_cpus(told := {"OMP_NUM_THREADS": "7"}, processes)
    assert told == {"OMP_NUM_THREADS": "7"}
