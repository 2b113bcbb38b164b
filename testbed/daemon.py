"""One program of a test bed, running in the background until it is stopped or its starter is gone."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from stepworks.errors import RunError
from testbed.probes import Probe

_PR_SET_PDEATHSIG = 1
_PRCTL = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None


class Daemon:
    """A program that is started, killed and started again.

    On Linux the kernel kills it when the process that started it ends, however that ends; elsewhere only a stop
    ends it. It must be started from a thread that lives as long as it does.

    Args:
        name: What messages and the log file call it.
        command: The program and its arguments.
        log: The file that gets its output; it is added to.
        is_ready: Whether it answers; must not raise for a program that does not listen yet.
        environment: Variables on top of this process's own.
        ready_file: The file by which it says that it is ready, if it does; the last start's is deleted before each.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        log: Path,
        is_ready: Probe,
        environment: Mapping[str, str] | None = None,
        ready_file: Path | None = None,
    ) -> None:
        self.name = name
        self.command = [str(part) for part in command]
        self.log = log
        self.is_ready = is_ready
        self.environment = dict(environment or {})
        self.ready_file = ready_file
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process, while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> None:
        """Start it; it is not yet ready when this returns."""
        if self.ready_file:
            self.ready_file.unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment},
                process_group=0,  # an interrupt at the terminal is for the one who stops it in order
                preexec_fn=_die_with_parent if _PRCTL else None,  # noqa: PLW1509 - the one call it makes takes no lock
            )

    def wait_ready(self, timeout: float = 60.0) -> None:
        """Wait until it is ready.

        Args:
            timeout: Seconds.

        Raises:
            RunError: It ended, or was not ready in time; the error has the end of its log.
        """
        deadline = time.monotonic() + timeout
        while not self.is_ready():
            ended = self._process.poll() if self._process else None
            if ended is not None or time.monotonic() > deadline:
                raise RunError(
                    f"{self.name} of the test bed {'ended' if ended is not None else 'is not ready'}",
                    received=f"{f'exit code {ended}' if ended is not None else f'no answer in {timeout:.0f} s'}; "
                    f"the end of its log:\n{self.last_lines()}",
                    expected="that it answers",
                    what_to_do=f"Read {self.log}.",
                )
            time.sleep(0.05)

    def stop(self, grace: float = 5.0) -> None:
        """Ask it to end, and kill it after a time of grace, in seconds."""
        if self._process and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(grace)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """Kill it and what it started in its process group, at once."""
        if self._process and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def last_lines(self, count: int = 15) -> str:
        """The end of its log."""
        try:
            return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])
        except FileNotFoundError:
            return ""


def _die_with_parent() -> None:
    """Ask the kernel to kill this process when the thread that started it ends."""
    assert _PRCTL
    _PRCTL(_PR_SET_PDEATHSIG, signal.SIGKILL)
