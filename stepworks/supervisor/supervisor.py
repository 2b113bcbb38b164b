"""The owner of everything that outlives a step of a local run."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from stepworks.errors import NotFoundError, ParameterError, ResourceError, ServingError
from stepworks.supervisor import ENVIRONMENT_VARIABLE, guard
from stepworks.supervisor.control import ControlEndpoint
from stepworks.supervisor.guard import GRACE_SECONDS
from stepworks.supervisor.processes import ManagedProcess, ProcessGroup

READY_TIMEOUT_SECONDS = 60.0
"""How long a process may take to become ready, unless `start` is told otherwise."""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,98}[a-z0-9])?")


class Supervisor:
    """Owns background processes and the folders that stand for claims, for as long as a `with` block lasts.

    It lives in the process of `stepworks run`. When the block ends, by whatever way, no process that it started
    is left, except those that were released. If its process is killed outright, a guard process ends them
    (`stepworks.supervisor.guard` says what that does not cover). Its methods may be called from several threads.

    Args:
        folder: Takes the processes' logs, `<name>.log`; created.
        claims: Mount path in a cluster (`/mnt/registry`) to the local folder that stands for it; created.

    Raises:
        ResourceError: A folder cannot be made.
    """

    def __init__(self, folder: Path, claims: Mapping[str, Path] | None = None) -> None:
        self._folder = folder.absolute()
        self._claims = {mount: path.absolute() for mount, path in (claims or {}).items()}
        for path in (self._folder, *self._claims.values()):
            _make_folder(path)
        self._groups: dict[str, ProcessGroup] = {}
        self._released: set[str] = set()
        self._ports: set[int] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._guard: subprocess.Popen[str] | None = None
        self._endpoint = ControlEndpoint(self)

    def __enter__(self) -> Self:
        self._endpoint.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def environment(self) -> dict[str, str]:
        """The environment variables through which a step reaches this supervisor."""
        return {ENVIRONMENT_VARIABLE: self._endpoint.address}

    def claims(self) -> dict[str, Path]:
        """The folder of each claim, by its mount path."""
        return dict(self._claims)

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        ready_url: str,
        timeout_seconds: float = READY_TIMEOUT_SECONDS,
        environment: Mapping[str, str] | None = None,
    ) -> ManagedProcess:
        """Start a process in a session of its own and wait until it is ready.

        Args:
            name: Names the process and its log: lowercase letters, digits, dots and dashes.
            command: The program and its arguments.
            ready_url: Answers 200 once the process is ready.
            timeout_seconds: How long to wait for that.
            environment: Variables to add to those of this process.

        Returns:
            The running process.

        Raises:
            ParameterError: The name is not allowed.
            ResourceError: The program cannot be started.
            ServingError: A process of that name runs; or it ended or stayed silent, and nothing of it is left.
        """
        if not _NAME.fullmatch(name):
            raise ParameterError(
                "A process cannot have this name",
                received=repr(name),
                expected="up to 100 lowercase letters, digits, dots and dashes",
                what_to_do="Choose another name.",
            )
        group = self._spawn(name, command, ready_url, dict(environment or {}))
        try:
            return group.wait_until_ready(timeout_seconds)
        except BaseException:
            self._end([group])
            raise

    def stop(self, name: str) -> None:
        """End a process and its descendants: SIGTERM, and SIGKILL after `GRACE_SECONDS`.

        Raises:
            NotFoundError: No process of that name was started.
        """
        self._end([self._find(name)])

    def processes(self) -> dict[str, ManagedProcess]:
        """Every process that was started and not stopped, by name; one that ended by itself has an exit code."""
        with self._lock:
            groups = list(self._groups.values())
        return {group.name: group.look() for group in groups}

    def release(self, name: str) -> ManagedProcess:
        """Leave a process running when the supervisor closes, or is killed.

        Raises:
            NotFoundError: No process of that name was started.
        """
        group = self._find(name)
        with self._lock:
            self._released.add(name)
            self._tell_guard(f"-{group.pid}")
        return group.look()

    @contextlib.contextmanager
    def guarding(self, group: int) -> Iterator[None]:
        """Have a process group that somebody else started ended if this process is killed within the block."""
        with self._lock:
            self._tell_guard(f"+{group}")
        try:
            yield
        finally:
            with self._lock:
                self._tell_guard(f"-{group}")

    def free_port(self) -> int:
        """A TCP port on loopback that nobody listens on; the same one is never given twice."""
        while True:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = int(probe.getsockname()[1])
            with self._lock:
                if port not in self._ports:
                    self._ports.add(port)
                    return port

    def close(self) -> None:
        """End every process that was not released, and the control endpoint. Closing twice does no harm."""
        with self._lock:
            self._closed = True
            groups = [group for name, group in self._groups.items() if name not in self._released]
        self._endpoint.close()
        self._end(groups)
        with self._lock:
            process, self._guard = self._guard, None
        if process is not None:
            with contextlib.suppress(OSError):
                _pipe(process).close()
            process.wait()

    def _spawn(self, name: str, command: Sequence[str], ready_url: str, environment: dict[str, str]) -> ProcessGroup:
        with self._lock:
            if self._closed:
                raise ServingError(
                    f"The process {name} cannot be started any more", received="the supervisor is closing"
                )
            if name in self._groups and self._groups[name].look().running:
                raise ServingError(
                    f"A process named {name} runs already",
                    received=f"process {self._groups[name].pid}",
                    what_to_do="Stop it first, or use it.",
                )
            group = ProcessGroup.spawn(
                name,
                command,
                ready_url=ready_url,
                log=self._folder / f"{name}.log",
                environment={**os.environ, **environment},
            )
            self._tell_guard(f"+{group.pid}")
            self._released.discard(name)
            self._groups[name] = group
        return group

    def _find(self, name: str) -> ProcessGroup:
        with self._lock:
            if name in self._groups:
                return self._groups[name]
            known = ", ".join(sorted(self._groups)) or "none"
        raise NotFoundError(f"There is no process named {name}", received=name, expected=f"one of: {known}")

    def _end(self, groups: Sequence[ProcessGroup]) -> None:
        for group in groups:  # All at once first, so that they end side by side.
            group.signal(signal.SIGTERM)
        deadline = time.monotonic() + GRACE_SECONDS
        for group in groups:
            group.end(deadline)
        with self._lock:
            for group in groups:
                self._tell_guard(f"-{group.pid}")
                if self._groups.get(group.name) is group:
                    del self._groups[group.name]

    def _tell_guard(self, line: str) -> None:
        if self._guard is None:
            if self._closed or line.startswith("-"):
                return
            self._guard = _start_guard()
        with contextlib.suppress(OSError):  # A guard that somebody killed must not stop the work.
            _pipe(self._guard).write(line + "\n")
            _pipe(self._guard).flush()


def _start_guard() -> subprocess.Popen[str]:
    # Isolated and without site packages: it starts in a few milliseconds and needs nothing.
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(guard.__file__)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


def _pipe(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdin is not None
    return process.stdin


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(
            f"Cannot make the folder {path}",
            received=f"{type(error).__name__}: {error.strerror or error}",
            expected="a writable place",
            what_to_do="Correct the permission, or choose another folder.",
        ) from error
