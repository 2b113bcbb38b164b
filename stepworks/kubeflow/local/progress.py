"""Live progress of a run: a tree of steps with state and duration on a terminal, plain lines elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from stepworks.kubeflow.local.steps import Step

_MARKS = {
    "pending": ("·", "dim"),
    "running": ("▶", "cyan"),
    "succeeded": ("✓", "green"),
    "failed": ("✗", "bold red"),
    "skipped": ("○", "dim"),
    "cancelled": ("■", "yellow"),
}


def format_seconds(seconds: float | None) -> str:
    """A duration for people: `0.4 s`, `1 min 05 s`."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


class Progress:
    """Shows the steps of a run while it goes.

    Args:
        title: What runs.
        steps: Its steps; they are read each time, and changed by whoever runs them.
        console: Where to show them.
    """

    def __init__(self, title: str, steps: list[Step], console: Console) -> None:
        self.title = title
        self.steps = steps
        self.console = console
        self._spinner = Spinner("dots", style="cyan")
        self._live = Live(self, console=console, refresh_per_second=8) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        else:
            self.console.print(self.title)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def step_ended(self, step: Step) -> None:
        """Tell of a step's end where there is no live display."""
        if not self._live:
            self.console.print(_line(step))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The tree as it is now."""
        tree = Tree(Text(self.title, style="bold"), guide_style="dim")
        for step in self.steps:
            tree.add(self._running_line(step) if step.state == "running" else _line(step))
        yield tree

    def _running_line(self, step: Step) -> Table:
        line = Table.grid(padding=(0, 1))
        line.add_row(
            self._spinner, Text(f"{step.name:<24}", style="cyan"), Text(format_seconds(step.seconds), style="cyan")
        )
        return line


def _line(step: Step) -> Text:
    mark, style = _MARKS[step.state]
    attempts = f"  attempt {step.attempts}" if step.attempts > 1 else ""
    return Text.assemble(
        (mark, style),
        f" {step.name:<24} ",
        (format_seconds(step.seconds), "dim"),
        (attempts, "yellow"),
    )
