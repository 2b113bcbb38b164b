"""Carrying the steps of a run through their attempts, with their output in log files and their states kept."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kfp import dsl

from stepworks.errors import StepworksError
from stepworks.kubeflow.local.failure import explain_failure
from stepworks.kubeflow.local.runner import Attempt, Runner
from stepworks.kubeflow.local.step_log import ATTEMPT_MARK
from stepworks.kubeflow.local.steps import Step

GRACE_SECONDS = 3.0
"""How long a step may take to end after SIGTERM; a KFP task pod gives Python no more."""


@dataclass
class _Execution:
    step: Step
    log: str
    attempts: int = 0
    exit_code: int | None = None
    page: str = ""
    outputs: dict[str, str] = field(default_factory=dict)


class Launcher:
    """Has a runner run each attempt of a step, and ends them all when told to.

    Args:
        steps: The steps of the run; their states are kept up to date.
        logs: The folder of the log files.
        runner: Starts the attempts.
        on_begin: Called when an execution begins.
        on_end: Called when an execution has ended, with the path of each output artifact.
    """

    def __init__(
        self,
        steps: list[Step],
        logs: Path,
        runner: Runner,
        *,
        on_begin: Callable[[Step], None],
        on_end: Callable[[Step, Mapping[str, str]], None],
    ) -> None:
        self.steps = {(step.task, step.component): step for step in steps}
        self.logs = logs
        self.runner = runner
        self.on_begin = on_begin
        self.on_end = on_end
        self._current = threading.local()  # kfp runs the iterations of a loop in threads
        self._lock = threading.RLock()  # a signal may come while the main thread holds it
        self._attempts: set[Attempt] = set()
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
                why = execution.page or explain_failure(execution.exit_code, self.logs / execution.log)
                step.fail(why, execution.log)
            self.on_end(step, execution.outputs)

    def run_process(self, command: list[str], environment: dict[str, str]) -> int:
        """Run one attempt of the calling thread's execution to its end; return the exit code.

        Raises:
            RuntimeError: It cannot run, and another attempt could not either; the step keeps why.
        """
        execution: _Execution = self._current.execution
        try:
            attempt = self._start(execution, command, environment)
            if attempt is None:
                return -signal.SIGTERM
            try:
                ended = attempt.wait()
            except StepworksError:
                self._end(attempt)
                raise
            self._end(attempt)
        except StepworksError as error:
            execution.page = str(error)
            # As kfp tells of a failed step: it ends the run, and the page is shown once.
            raise RuntimeError(f"The step {execution.step.name} cannot run") from error
        execution.exit_code, execution.page = ended.exit_code, ended.page
        return ended.exit_code

    def _start(self, execution: _Execution, command: list[str], environment: dict[str, str]) -> Attempt | None:
        """Start the next attempt of an execution; None when nothing is to be started any more."""
        log = self.logs / execution.log
        with self._lock:
            if self._stopping:
                return None
            execution.attempts += 1
            execution.step.attempts = max(execution.step.attempts, execution.attempts)
            execution.outputs = read_outputs(command)
            if execution.attempts > 1:
                with log.open("a", encoding="utf-8") as file:
                    file.write(f"{ATTEMPT_MARK}{execution.attempts} ---\n")
            attempt = self.runner.start(execution.step, command, environment, log)
            self._attempts.add(attempt)
        return attempt

    def _end(self, attempt: Attempt) -> None:
        """End what an attempt left behind: at once, or with the grace when all is to end."""
        attempt.end(time.monotonic() + (GRACE_SECONDS if self._stopping else 0))
        self._attempts.discard(attempt)

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
        for attempt in list(self._attempts):
            attempt.signal(number)

    def stop(self) -> None:
        """End every attempt: SIGTERM, and SIGKILL when the grace period is over.

        Raises:
            StepworksError: Something of one may be left; the others are ended all the same.
        """
        self._stopping = True
        self._signal_all(signal.SIGTERM)
        deadline = time.monotonic() + GRACE_SECONDS
        with ExitStack() as ending:
            for attempt in list(self._attempts):
                ending.callback(attempt.end, deadline)
        self._attempts.clear()


def read_outputs(command: list[str]) -> dict[str, str]:
    """The path of each output artifact, from the executor input in a task's command."""
    if "--executor_input" not in command:
        return {}
    executor_input = json.loads(command[command.index("--executor_input") + 1])
    artifacts = executor_input.get("outputs", {}).get("artifacts", {})
    return {name: value["artifacts"][0]["uri"] for name, value in artifacts.items()}
