"""`make cluster-up` and `make cluster-down`, as they are called at a terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.control_plane.testbed.test_bed import processes_of

CHECKOUT = Path(__file__).parents[3]


def testbed(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m testbed` in a folder, which then has the test beds."""
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-m", "testbed", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


testbed.__test__ = False  # type: ignore[attr-defined]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    testbed(tmp_path, "down")


def test_up_status_and_down(folder: Path) -> None:
    started = testbed(folder, "up", "--simulated", "2")
    assert started.returncode == 0, started.stdout + started.stderr
    assert "export KUBECONFIG=$PWD/.stepworks/clusters/default/kubeconfig" in started.stdout
    kubectl = folder / ".stepworks/clusters/default/kubectl"
    listed = subprocess.run([kubectl, "get", "nodes", "-o", "name"], capture_output=True, text=True, check=True).stdout
    names = [line.removeprefix("node/") for line in listed.split()]
    assert names == ["process-cpu", "process-gpu", "simulated-0", "simulated-1"]
    assert testbed(folder, "up").stdout.startswith("The test bed default runs already.")
    assert testbed(folder, "status").stdout == "default: runs, KUBECONFIG=.stepworks/clusters/default/kubeconfig\n"
    assert testbed(folder, "down").stdout == "The test bed default is stopped.\n"
    assert not processes_of(folder)
    assert not list((folder / ".stepworks/clusters").iterdir())
    assert testbed(folder, "down").stdout == "No test bed default runs.\n"


def test_after_a_crash_down_removes_what_is_left(folder: Path) -> None:
    assert testbed(folder, "up", "--generation", "older").returncode == 0
    bed = folder / ".stepworks/clusters/default"
    os.kill(int((bed / "pid").read_text()), signal.SIGKILL)
    assert testbed(folder, "status").stdout == "default: has crashed\n"
    assert testbed(folder, "down").returncode == 0
    assert not processes_of(folder)
    assert not bed.exists()


def test_an_unknown_generation_is_told(folder: Path) -> None:
    refused = testbed(folder, "up", "--generation", "newest")
    assert refused.returncode == 2
    assert all(word in refused.stderr for word in ("'newest'", "'older'", "'newer'"))
