"""What is left of a test bed whose supervisor was killed: where the kernel does not end its programs, we do."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

from testbed.modules import program


def clear(folder: Path) -> None:
    """End the programs of a bed that is not supervised any more, and delete its folder.

    Args:
        folder: The bed's folder; nothing happens where there is none.
    """
    if not folder.is_dir():
        return
    for pid in _programs(folder.resolve()):
        os.kill(pid, signal.SIGKILL)
    if (folder / "process-node").is_dir():
        sweep_process_nodes(folder)
    shutil.rmtree(folder, ignore_errors=True)


def sweep_process_nodes(folder: Path) -> None:
    """Let the process node remove what its crash left: it alone knows what it made of the machine."""
    subprocess.run([program("process-node"), "sweep", "--state", folder / "process-node"], check=False)


def _programs(folder: Path) -> list[int]:
    """The processes that were started with a file of the folder among their arguments."""
    listed = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,command="], capture_output=True, text=True, check=True
    ).stdout
    found = []
    for line in listed.splitlines():
        pid, _, command = line.strip().partition(" ")
        if f"{folder}/" in command and int(pid) != os.getpid():
            found.append(int(pid))
    return found
