"""One background process: started, waited for until it answers, and ended together with its descendants."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
import urllib.error
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from stepworks.errors import ResourceError, ServingError
from stepworks.files import read_tail
from stepworks.supervisor.loopback import direct

_POLL_SECONDS = 0.05
_PROBE_TIMEOUT_SECONDS = 2.0
_SWEEP_SECONDS = 0.5
_LOG_TAIL_LINES = 15


@dataclass(frozen=True)
class ManagedProcess:
    """A background process as it was when it was looked at.

    Attributes:
        name: The name it was started under.
        pid: Its process id, which is also the id of its process group.
        command: The command and its arguments.
        ready_url: The address that answers 200 once the process is ready.
        log: The file that takes its standard output and standard error.
        exit_code: Missing while it runs; minus the signal's number if a signal ended it.
    """

    name: str
    pid: int
    command: tuple[str, ...]
    ready_url: str
    log: Path
    exit_code: int | None = None

    @property
    def running(self) -> bool:
        """Whether the process had not ended."""
        return self.exit_code is None


class ProcessManager(Protocol):
    """What owns background processes: a `Supervisor`, or a `SupervisorClient` in another process."""

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        ready_url: str,
        timeout_seconds: float = ...,
        environment: Mapping[str, str] | None = None,
    ) -> ManagedProcess:
        """Start a process and wait until it is ready."""
        ...

    def stop(self, name: str) -> None:
        """End a process and its descendants."""
        ...

    def processes(self) -> dict[str, ManagedProcess]:
        """Every process that was started and not stopped, by name."""
        ...

    def free_port(self) -> int:
        """A TCP port on loopback that nobody listens on."""
        ...


class ProcessGroup:
    """A started command in a session of its own, so that a signal reaches all its descendants at once."""

    def __init__(self, name: str, popen: subprocess.Popen[bytes], command: Sequence[str], ready_url: str, log: Path):
        self.name = name
        self._popen = popen
        self._command = tuple(command)
        self._ready_url = ready_url
        self._log = log
        self._swept = False

    @classmethod
    def spawn(
        cls, name: str, command: Sequence[str], *, ready_url: str = "", log: Path, environment: Mapping[str, str]
    ) -> ProcessGroup:
        """Start `command`; it is not waited for, and its output is added to `log`.

        Raises:
            ResourceError: There is no such program, it may not be run, or the log cannot be written.
        """
        try:
            with log.open("ab") as output:
                popen = subprocess.Popen(
                    list(command),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=dict(environment),
                    start_new_session=True,
                )
        except OSError as error:
            raise ResourceError(
                f"Cannot start the process {name}",
                received=f"{type(error).__name__}: {error.strerror or error} ({error.filename or command[0]})",
                expected="a program that may be run, and a log file that may be written",
                what_to_do=f"Correct the command or the permission: {' '.join(command)}",
            ) from error
        return cls(name, popen, command, ready_url, log)

    @property
    def pid(self) -> int:
        """The id of the process and of its group."""
        return self._popen.pid

    def look(self) -> ManagedProcess:
        """Say what the process is doing now; what a dead one has left behind is ended."""
        exit_code = self._popen.poll()
        if exit_code is not None:
            self._sweep()
        return ManagedProcess(self.name, self.pid, self._command, self._ready_url, self._log, exit_code)

    def wait_until_ready(self, timeout_seconds: float) -> ManagedProcess:
        """Wait until the process's ready address answers 200.

        Raises:
            ServingError: The process ended, or did not answer in time. It still has to be ended then.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            process = self.look()
            if not process.running:
                raise ServingError(
                    f"The process {self.name} ended before it was ready",
                    received=f"exit code {process.exit_code}; its log ends:\n{log_tail(self._log)}",
                    expected=f"an answer at {self._ready_url}",
                    what_to_do=f"Correct what its log names ({self._log}), then run again.",
                )
            if _answers(self._ready_url):
                return process
            if time.monotonic() >= deadline:
                raise ServingError(
                    f"The process {self.name} was not ready within {timeout_seconds:g} seconds",
                    received=f"no answer; its log ends:\n{log_tail(self._log)}",
                    expected=f"status 200 at {self._ready_url}",
                    what_to_do=f"Read its log ({self._log}); on a busy machine, give it more time.",
                )
            time.sleep(_POLL_SECONDS)

    def signal(self, number: int) -> None:
        """Send a signal to the whole group, if its leader has not been reaped."""
        if self._popen.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    def wait(self) -> int:
        """Wait until the process has ended by itself; its exit code. What it leaves behind is not ended here."""
        return self._popen.wait()

    def end(self, deadline: float) -> None:
        """Ask the group to end, and wait until all of it has; from `deadline` (monotonic clock) on, kill it."""
        self.signal(signal.SIGTERM)
        while self._any_left() and time.monotonic() < deadline:
            time.sleep(_SWEEP_SECONDS / 100)
        self.signal(signal.SIGKILL)
        self._popen.wait()
        self._sweep()

    def _any_left(self) -> bool:
        """Whether the leader or a descendant in its group is alive: a shell ends before what it started does."""
        self._popen.poll()
        try:
            os.killpg(self.pid, 0)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def _sweep(self) -> None:
        # Once only: the number of a group that is gone may belong to somebody else later.
        if self._swept:
            return
        self._swept = True
        deadline = time.monotonic() + _SWEEP_SECONDS
        with contextlib.suppress(ProcessLookupError, PermissionError):  # The group is gone.
            os.killpg(self.pid, signal.SIGKILL)
            while time.monotonic() < deadline:
                time.sleep(_SWEEP_SECONDS / 100)
                os.killpg(self.pid, 0)


def log_tail(log: Path) -> str:
    """The last lines of a log file, indented for an error message."""
    lines = read_tail(log).splitlines()[-_LOG_TAIL_LINES:]
    return "\n".join(f"    {line}" for line in lines) or "    (nothing)"


def _answers(url: str) -> bool:
    try:
        with direct.open(url, timeout=_PROBE_TIMEOUT_SECONDS) as answer:
            return int(answer.status) == 200
    except (urllib.error.URLError, OSError, ValueError):
        return False
