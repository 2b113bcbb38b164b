"""`make cluster-up` and `make cluster-down`, as they are called at a terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.control_plane.testbed.test_bed import processes_of
from tests.waiting import wait_for

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
    assert "The test bed default runs.\n" in started.stdout
    assert "export KUBECONFIG=$PWD/.stepworks/clusters/default/kubeconfig" in started.stdout
    kubectl = folder / ".stepworks/clusters/default/kubectl"
    listed = subprocess.run([kubectl, "get", "nodes", "-o", "name"], capture_output=True, text=True, check=True).stdout
    names = [line.removeprefix("node/") for line in listed.split()]
    assert names == ["process-cpu", "process-gpu", "simulated-0", "simulated-1"]
    assert testbed(folder, "up").stdout.startswith("The test bed default runs already.")
    for other in (("--simulated", "3"), ("--generation", "older")):
        refused = testbed(folder, "up", *other)
        assert refused.returncode == 2
        assert "those that it was started with: GENERATION=newer SIMULATED=2" in refused.stderr
    assert testbed(folder, "status").stdout == "default: runs, KUBECONFIG=.stepworks/clusters/default/kubeconfig\n"
    assert testbed(folder, "down").stdout == "The test bed default is stopped.\n"
    assert not processes_of(folder)
    assert not list((folder / ".stepworks/clusters").iterdir())
    assert testbed(folder, "down").stdout == "No test bed default runs.\n"


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--generation", "oldest", "Received: GENERATION=oldest\n  Expected: GENERATION=older or GENERATION=newer"),
        ("--simulated", "many", "Received: SIMULATED=many"),
        ("--simulated", "-1", "Received: SIMULATED=-1"),
        ("--name", "Second", "'Second' cannot be the name of a test bed"),
    ],
)
def test_what_make_was_given_wrongly_is_told_in_the_words_of_make(
    folder: Path, option: str, value: str, told: str
) -> None:
    refused = testbed(folder, "up", f"{option}={value}")
    assert refused.returncode == 2
    assert told in refused.stderr


def test_two_starts_of_one_name_at_once_start_one_bed(folder: Path) -> None:
    with ThreadPoolExecutor() as pool:
        both = [each.result() for each in [pool.submit(testbed, folder, "up") for _ in range(2)]]
    assert [each.returncode for each in both] == [0, 0], [each.stderr for each in both]
    waited = [each.stdout.startswith("The test bed default is being started already") for each in both]
    assert sorted(waited) == [False, True]
    assert testbed(folder, "down").stdout == "The test bed default is stopped.\n"
    assert not processes_of(folder)


def test_after_a_crash_down_removes_what_is_left(folder: Path) -> None:
    assert testbed(folder, "up", "--generation", "older").returncode == 0
    bed = folder / ".stepworks/clusters/default"
    os.kill(int((bed / "pid").read_text()), signal.SIGKILL)
    assert testbed(folder, "status").stdout.startswith("default: has crashed")
    assert testbed(folder, "down").returncode == 0
    assert not processes_of(folder)
    assert not bed.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_start_that_is_interrupted_leaves_nothing(folder: Path, number: signal.Signals) -> None:
    bed = folder / ".stepworks/clusters/default"
    command = [sys.executable, "-m", "testbed", "up"]
    with subprocess.Popen(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": str(CHECKOUT)}, stderr=subprocess.PIPE, text=True
    ) as starting:
        wait_for("Kubernetes is being started", (bed / "logs" / "kube-apiserver.log").exists)
        assert testbed(folder, "status").stdout == "default: is being started\n"
        starting.send_signal(number)
        _, told = starting.communicate(timeout=120)
    assert starting.returncode == 128 + number
    assert told == "Interrupted: the test bed default is being stopped.\n"
    assert not processes_of(folder)
    assert not list((folder / ".stepworks/clusters").iterdir())


@pytest.mark.parametrize("command", ["up", "down"])
@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "two words", "Upper"])
def test_a_name_that_is_no_folder_of_its_own_is_refused(folder: Path, command: str, name: str) -> None:
    kept = folder / ".stepworks/registry"
    kept.mkdir(parents=True)
    refused = testbed(folder, command, "--name", name)
    assert refused.returncode == 2
    assert f"{name!r} cannot be the name of a test bed" in refused.stderr
    assert kept.is_dir()
