"""Running a step as a process group of this machine."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from stepworks.kubeflow.local.runner import Ended
from stepworks.kubeflow.local.steps import Step
from stepworks.supervisor.processes import ProcessGroup
from stepworks.supervisor.supervisor import Supervisor


class ProcessRunner:
    """Runs each attempt of a step in a process group of its own.

    Args:
        supervisor: Is named in each step's environment, and ends the steps if this process is killed.
        temporary: The folder for what steps need for a moment; kfp's launcher leaves a folder a step.
    """

    def __init__(self, supervisor: Supervisor, temporary: Path) -> None:
        self._supervisor = supervisor
        self._environment = {**supervisor.environment(), "PYTHONUNBUFFERED": "1", "TMPDIR": str(temporary)}

    def start(self, step: Step, command: list[str], environment: Mapping[str, str], log: Path) -> ProcessAttempt:
        """Start an attempt.

        Raises:
            ResourceError: There is no such program, it may not be run, or the log cannot be written.
        """
        group = ProcessGroup.spawn(
            step.name,
            _with_quoted_python(command),
            log=log,
            environment={**os.environ, **self._environment, **environment},
        )
        return ProcessAttempt(group, self._supervisor)


class ProcessAttempt:
    """An attempt of a step, as a process group."""

    def __init__(self, group: ProcessGroup, supervisor: Supervisor) -> None:
        self._group = group
        self._guarded = ExitStack()
        self._guarded.enter_context(supervisor.guarding(group.pid))

    def wait(self) -> Ended:
        """Wait until the step's own process has ended."""
        return Ended(_as_signal(self._group.wait()))

    def signal(self, number: int) -> None:
        """Send a signal to the whole group."""
        self._group.signal(number)

    def end(self, deadline: float) -> None:
        """End the whole group: what a step leaves in the background ends with it, as in a pod."""
        self._group.end(deadline)
        self._guarded.close()


def _with_quoted_python(command: list[str]) -> list[str]:
    """Quote this Python's path in the shell line that kfp put it into, for a checkout in `My Projects`."""
    script = [number for number, part in enumerate(command) if "kfp.dsl.executor_main" in part][:1]
    return [
        part.replace(sys.executable, shlex.quote(sys.executable)) if number in script else part
        for number, part in enumerate(command)
    ]


def _as_signal(exit_code: int) -> int:
    """The shell around a step reports a signal as 128 plus its number; give both as the negative number."""
    signals = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGABRT, signal.SIGSEGV)
    return 128 - exit_code if exit_code - 128 in signals else exit_code
