"""Starting the steps of a local run as processes of their own, with their output in log files."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kfp import dsl

from stepworks.kubeflow.local.failure import ATTEMPT_MARK, explain_failure
from stepworks.kubeflow.local.steps import Step
from stepworks.supervisor.supervisor import Supervisor

GRACE_SECONDS = 3.0
"""How long a step may take to end after SIGTERM; a KFP task pod gives Python no more."""


class Launcher:
    """Runs each attempt of a step in a process group of its own, and ends them all when told to.

    Args:
        steps: The steps of the run; their states are kept up to date.
        logs: The folder of the log files.
        supervisor: Is named in each step's environment, and ends the steps if this process is killed.
        on_end: Called when a step has ended.
    """

    def __init__(self, steps: list[Step], logs: Path, supervisor: Supervisor, on_end: Callable[[Step], None]) -> None:
        self.steps = {step.name: step for step in steps}
        self.logs = logs
        self.supervisor = supervisor
        self.environment = {**supervisor.environment(), "PYTHONUNBUFFERED": "1"}
        self.on_end = on_end
        self._current = threading.local()  # kfp runs the iterations of a loop in threads
        self._processes: set[subprocess.Popen[bytes]] = set()

    def task_started(self, name: str) -> None:
        """A task begins, with its first attempt."""
        self._current.step = self.steps[name]
        self.steps[name].start()

    def task_ended(self, name: str, *, succeeded: bool, outputs: Mapping[str, Any]) -> None:
        """A task has ended, after its last attempt."""
        step = self.steps[name]
        for key, value in outputs.items():
            if isinstance(value, dsl.Artifact):
                step.metadata[key] = dict(value.metadata)
            else:
                step.values[key] = value
        step.end("succeeded" if succeeded else "failed")
        if not succeeded and step.log:
            step.error = explain_failure(step, self.logs / step.log)
        self.on_end(step)

    def run_process(self, command: list[str], environment: dict[str, str]) -> int:
        """Run one attempt of the calling thread's task to its end; return the exit code."""
        step: Step = self._current.step
        step.attempts += 1
        step.log = f"{step.name}.log"
        step.outputs = read_outputs(command)
        with (self.logs / step.log).open("ab") as log:
            if step.attempts > 1:
                log.write(f"{ATTEMPT_MARK}{step.attempts} ---\n".encode())
                log.flush()
            process = subprocess.Popen(
                _with_quoted_python(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment, **environment},
                start_new_session=True,
            )
        self._processes.add(process)
        with self.supervisor.guarding(process.pid):
            step.exit_code = _as_shell_signal(process.wait())
        self._processes.discard(process)
        return step.exit_code

    def stop(self) -> None:
        """End every step's process group: SIGTERM, and SIGKILL when the grace period is over."""
        for process in self._processes:
            _signal_group(process, signal.SIGTERM)
        for process in list(self._processes):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GRACE_SECONDS)
            _signal_group(process, signal.SIGKILL)
            process.wait()
        self._processes.clear()


def read_outputs(command: list[str]) -> dict[str, str]:
    """The path of each output artifact, from the executor input in a task's command."""
    if "--executor_input" not in command:
        return {}
    executor_input = json.loads(command[command.index("--executor_input") + 1])
    artifacts = executor_input.get("outputs", {}).get("artifacts", {})
    return {name: value["artifacts"][0]["uri"] for name, value in artifacts.items()}


def _with_quoted_python(command: list[str]) -> list[str]:
    """Quote this Python's path in the shell line that kfp put it into, for a checkout in `My Projects`."""
    script = [number for number, part in enumerate(command) if "kfp.dsl.executor_main" in part][:1]
    return [
        part.replace(sys.executable, shlex.quote(sys.executable)) if number in script else part
        for number, part in enumerate(command)
    ]


def _as_shell_signal(exit_code: int) -> int:
    """The shell around a step reports a signal as 128 plus its number; give both as the negative number."""
    signals = {
        128 + number for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGABRT, signal.SIGSEGV)
    }
    return 128 - exit_code if exit_code in signals else exit_code


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
