"""Starting the steps of a local run as processes of their own, with their output in log files."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kfp import dsl

from stepworks.kubeflow.local.failure import ATTEMPT_MARK, explain_failure
from stepworks.kubeflow.local.steps import Step
from stepworks.supervisor.processes import ProcessGroup
from stepworks.supervisor.supervisor import Supervisor

GRACE_SECONDS = 3.0
"""How long a step may take to end after SIGTERM; a KFP task pod gives Python no more."""


@dataclass
class _Execution:
    step: Step
    log: str
    attempts: int = 0
    exit_code: int | None = None
    outputs: dict[str, str] = field(default_factory=dict)


class Launcher:
    """Runs each attempt of a step in a process group of its own, and ends them all when told to.

    Args:
        steps: The steps of the run; their states are kept up to date.
        logs: The folder of the log files.
        temporary: The folder for what steps need for a moment; kfp's launcher leaves a folder a step.
        supervisor: Is named in each step's environment, and ends the steps if this process is killed.
        on_begin: Called when an execution begins.
        on_end: Called when an execution has ended, with the path of each output artifact.
    """

    def __init__(
        self,
        steps: list[Step],
        logs: Path,
        temporary: Path,
        supervisor: Supervisor,
        *,
        on_begin: Callable[[Step], None],
        on_end: Callable[[Step, Mapping[str, str]], None],
    ) -> None:
        self.steps = {(step.task, step.component): step for step in steps}
        self.logs = logs
        self.supervisor = supervisor
        self.environment = {**supervisor.environment(), "PYTHONUNBUFFERED": "1", "TMPDIR": str(temporary)}
        self.on_begin = on_begin
        self.on_end = on_end
        self._current = threading.local()  # kfp runs the iterations of a loop in threads
        self._lock = threading.RLock()  # a signal may come while the main thread holds it
        self._groups: set[ProcessGroup] = set()
        self._stopping = False

    def task_started(self, name: str, component: str) -> None:
        """An execution of a task begins, with its first attempt."""
        step = self.steps[name, component]
        with self._lock:
            self._current.execution = _Execution(step, step.start())
            self.on_begin(step)

    def task_ended(self, *, succeeded: bool, outputs: Mapping[str, Any]) -> None:
        """The calling thread's execution has ended, after its last attempt."""
        execution: _Execution = self._current.execution
        step = execution.step
        with self._lock:
            if self._stopping and not succeeded:
                step.end("cancelled")
                return
            for key, value in outputs.items():
                if isinstance(value, dsl.Artifact):
                    step.metadata[key] = dict(value.metadata)
                else:
                    step.values[key] = value
            step.end("succeeded" if succeeded else "failed")
            if not succeeded:
                step.fail(explain_failure(execution.exit_code, self.logs / execution.log), execution.log)
            self.on_end(step, execution.outputs)

    def run_process(self, command: list[str], environment: dict[str, str]) -> int:
        """Run one attempt of the calling thread's execution to its end; return the exit code."""
        execution: _Execution = self._current.execution
        log = self.logs / execution.log
        with self._lock:
            if self._stopping:
                return -signal.SIGTERM
            execution.attempts += 1
            execution.step.attempts = max(execution.step.attempts, execution.attempts)
            execution.outputs = read_outputs(command)
            if execution.attempts > 1:
                with log.open("a", encoding="utf-8") as file:
                    file.write(f"{ATTEMPT_MARK}{execution.attempts} ---\n")
            group = ProcessGroup.spawn(
                execution.step.name,
                _with_quoted_python(command),
                log=log,
                environment={**os.environ, **self.environment, **environment},
            )
            self._groups.add(group)
        with self.supervisor.guarding(group.pid):
            execution.exit_code = _as_signal(group.wait())
            # What a step leaves in the background ends with it, as in a pod; when all is to end, with the grace.
            group.end(time.monotonic() + (GRACE_SECONDS if self._stopping else 0))
        self._groups.discard(group)
        return execution.exit_code

    @contextmanager
    def ended_by_signals(self) -> Iterator[None]:
        """Have SIGINT, SIGTERM and SIGHUP end the steps at once, and then do what they did before.

        Without it, kfp waits for the threads of a loop, and starts what is left of it, before an interruption
        comes through. Signals reach the main thread only; elsewhere this does nothing.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}

        def interrupt(number: int, frame: Any) -> None:
            self._interrupt()
            previous = before[signal.Signals(number)]
            if callable(previous):
                previous(number, frame)
            elif previous is signal.SIG_DFL:
                sys.exit(128 + number)

        for number in before:
            signal.signal(number, interrupt)
        try:
            yield
        finally:
            for number, previous in before.items():
                signal.signal(number, previous)

    def _interrupt(self) -> None:
        """Start nothing more, ask every step to end, and kill those that have not when the grace is over."""
        self._stopping = True
        self._signal_all(signal.SIGTERM)
        timer = threading.Timer(GRACE_SECONDS, self._signal_all, [signal.SIGKILL])
        timer.daemon = True
        timer.start()

    def _signal_all(self, number: signal.Signals) -> None:
        for group in list(self._groups):
            group.signal(number)

    def stop(self) -> None:
        """End every step's process group: SIGTERM, and SIGKILL when the grace period is over."""
        self._stopping = True
        self._signal_all(signal.SIGTERM)
        deadline = time.monotonic() + GRACE_SECONDS
        for group in list(self._groups):
            group.end(deadline)
        self._groups.clear()


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


def _as_signal(exit_code: int) -> int:
    """The shell around a step reports a signal as 128 plus its number; give both as the negative number."""
    signals = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGABRT, signal.SIGSEGV)
    return 128 - exit_code if exit_code - 128 in signals else exit_code
