"""Progress of a run, as plain lines: what a log file or a pipe gets. `progress_live` draws it on a terminal."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self, TextIO

from stepworks.kubeflow.local.steps import MARKS, Step
from stepworks.report.wording import duration


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


def open_progress(title: str, steps: list[Step], stream: TextIO) -> Progress:
    """Choose how to show a run: live on a terminal, a line a step elsewhere.

    Args:
        title: What runs.
        steps: Its steps; they are read each time, and changed by whoever runs them.
        stream: Where to show them.
    """
    if stream.isatty():
        from stepworks.kubeflow.local.progress_live import LiveProgress

        return LiveProgress(title, steps, stream)
    return PlainProgress(title, stream)


class PlainProgress:
    """A line when the run starts, when a step begins, and when it has ended."""

    def __init__(self, title: str, stream: TextIO) -> None:
        self.title = title
        self.stream = stream

    def __enter__(self) -> Self:
        self._print(self.title)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None

    def step_began(self, step: Step) -> None:
        """Tell of a step's begin."""
        self._print(f"{MARKS[step.state]} {step.name}")

    def step_ended(self, step: Step) -> None:
        """Tell of a step's end."""
        attempts = f"  attempt {step.attempts}" if step.attempts > 1 else ""
        self._print(f"{MARKS[step.state]} {step.name:<24} {duration(step.seconds)}{attempts}")

    def _print(self, line: str) -> None:
        self.stream.write(f"{line}\n")
        self.stream.flush()
