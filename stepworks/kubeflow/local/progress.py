"""Progress of a run, as plain lines: what a log file or a pipe gets. `progress_live` draws it on a terminal."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TextIO

from stepworks.kubeflow.local.step_log import last_said
from stepworks.kubeflow.local.steps import MARKS, Step
from stepworks.report.wording import duration

_TELLING_SECONDS = 15.0
"""How often it is told what a step that runs has said last, where it has said something new."""


class Progress(Protocol):
    """Shows the steps of a run while it goes."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def step_began(self, step: Step) -> None:
        """A step begins."""
        ...

    def step_ended(self, step: Step) -> None:
        """A step has ended, by whatever way."""
        ...


def open_progress(title: str, steps: list[Step], logs: Path, stream: TextIO) -> Progress:
    """Choose how to show a run: live on a terminal, a line a step elsewhere.

    Args:
        title: What runs.
        steps: Its steps; they are read each time, and changed by whoever runs them.
        logs: The folder of their logs, of which the last line tells how far a step is.
        stream: Where to show them.
    """
    if stream.isatty():
        from stepworks.kubeflow.local.progress_live import LiveProgress

        return LiveProgress(title, steps, logs, stream)
    return PlainProgress(title, steps, logs, stream)


class PlainProgress:
    """A line when the run starts, when a step begins, now and then while it goes, and when it has ended."""

    def __init__(
        self, title: str, steps: list[Step], logs: Path, stream: TextIO, *, telling_seconds: float = _TELLING_SECONDS
    ) -> None:
        self.title = title
        self.steps = steps
        self.logs = logs
        self.stream = stream
        self._every = telling_seconds
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._telling = threading.Thread(target=self._tell, daemon=True)
        self._told: dict[str, str] = {}

    def __enter__(self) -> Self:
        self._print(self.title)
        self._telling.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self._telling.join()

    def step_began(self, step: Step) -> None:
        """Tell of a step's begin."""
        self._print(f"{MARKS[step.state]} {step.name}")

    def step_ended(self, step: Step) -> None:
        """Tell of a step's end."""
        attempts = f"  attempt {step.attempts}" if step.attempts > 1 else ""
        self._print(f"{MARKS[step.state]} {step.name:<24} {duration(step.seconds)}{attempts}")

    def _tell(self) -> None:
        while not self._over.wait(self._every):
            for step in self.steps:
                said = last_said(self.logs / step.log) if step.state == "running" and step.log else ""
                if said and said != self._told.get(step.name):
                    self._told[step.name] = said
                    self._print(f"  {step.name}: {said}")

    def _print(self, line: str) -> None:
        with self._lock:
            self.stream.write(f"{line}\n")
            self.stream.flush()
