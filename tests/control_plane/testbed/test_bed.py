"""The test bed itself: it starts, several run side by side, and nothing of it is left."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from stepworks.errors import RunError
from testbed.bed import Bed
from testbed.daemon import Daemon
from testbed.settings import Node, Settings
from tests.waiting import wait_for

CORE = Settings(controllers=(), process_nodes=(), simulation=False)


def processes_of(folder: Path) -> list[str]:
    listed = subprocess.run(["ps", "-A", "-ww", "-o", "command="], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if f"{folder}/" in line]


def test_two_run_side_by_side_and_leave_nothing(tmp_path: Path) -> None:
    first, second = Bed(tmp_path / "first", CORE), Bed(tmp_path / "second", CORE)
    try:
        first.start()
        second.start()
        first.kubectl("create", "namespace", "only-here")
        assert "only-here" in first.kubectl("get", "namespaces")
        assert "only-here" not in second.kubectl("get", "namespaces")
        first.stop()
        assert not processes_of(first.folder)
        assert not first.folder.exists()
        assert "default" in second.kubectl("get", "namespaces")
    finally:
        first.stop()
        second.stop()
    assert not processes_of(second.folder)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with the one that started it")
def test_nothing_runs_on_when_its_starter_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "bed"
    code = (
        "import signal, sys; from pathlib import Path; from testbed.bed import Bed; from testbed.settings import *\n"
        "Bed(Path(sys.argv[1]), Settings(controllers=(), process_nodes=())).start(); print('up', flush=True)\n"
        "signal.pause()"
    )
    starter = subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert starter.stdout
        assert starter.stdout.readline() == "up\n"
        running = processes_of(folder)
    finally:
        starter.kill()
        starter.communicate()
    assert len(running) == 5  # etcd, the three of Kubernetes, kwok
    wait_for("no process is left", lambda: not processes_of(folder))


def test_a_program_that_does_not_start_is_told_with_its_log(tmp_path: Path) -> None:
    bed = Bed(tmp_path / "bed", CORE)
    bed.start()
    try:
        daemon = bed.daemons["kube-scheduler"]
        daemon.kill()
        daemon.command.append("--no-such-option")
        daemon.start()
        with pytest.raises(Exception, match="kube-scheduler of the test bed ended") as caught:
            daemon.wait_ready()
        assert "unknown flag: --no-such-option" in str(caught.value)
    finally:
        bed.stop()


@pytest.mark.parametrize("name", ["kube-scheduler", "kube-controller-manager", "kwok", "etcd"])
def test_a_program_is_ready_when_it_was_started_again(bed: Bed, name: str) -> None:
    bed.daemons[name].kill()
    assert not bed.daemons[name].is_ready()
    bed.restart(name)
    assert bed.daemons[name].is_ready()


@pytest.mark.parametrize("count", [200, pytest.param(1000, marks=pytest.mark.long)])
def test_many_simulated_gpu_nodes(bed: Bed, count: int) -> None:
    nodes = [Node(f"many-{number}", {"of": "many"}, capacity={"nvidia.com/gpu": "8"}) for number in range(count)]
    try:
        bed.add_simulated_nodes(*nodes)
        of_them = bed.kubectl("get", "nodes", "-l", "of=many", "-o", "jsonpath={.items[*].spec.taints}")
        assert len(bed.kubectl("get", "nodes", "-l", "of=many", "-o", "name").split()) == count
        assert of_them == ""  # each is free of the taint of a node that is not ready
    finally:
        bed.remove_nodes("of=many")


def test_a_program_is_not_ready_by_the_file_of_its_last_start(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    ready.touch()
    command = [sys.executable, "-c", "raise SystemExit('it does not come up')"]
    daemon = Daemon("node", command, tmp_path / "log", ready.exists, ready_file=ready)
    daemon.start()
    with pytest.raises(RunError, match="node of the test bed ended"):
        daemon.wait_ready()
