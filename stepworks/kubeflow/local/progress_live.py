"""Progress of a run on a terminal: a tree of steps with state and duration, drawn again and again."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from stepworks.kubeflow.local.step_log import last_said
from stepworks.kubeflow.local.steps import MARKS, Step
from stepworks.report.wording import duration

_STYLES = {"pending": "dim", "succeeded": "green", "failed": "bold red", "skipped": "dim", "cancelled": "yellow"}


class LiveProgress:
    """Draws the steps while the run goes; what is printed meanwhile scrolls by above them."""

    def __init__(self, title: str, steps: list[Step], logs: Path, stream: TextIO) -> None:
        self.title = title
        self.steps = steps
        self.logs = logs
        self._spinner = Spinner("dots", style="cyan")
        self._live = Live(self, console=Console(file=stream), refresh_per_second=8)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.stop()

    def step_began(self, step: Step) -> None:
        """Nothing to do: the tree is drawn from the steps."""

    def step_ended(self, step: Step) -> None:
        """Nothing to do: the tree is drawn from the steps."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The tree as it is now."""
        tree = Tree(Text(self.title, style="bold"), guide_style="dim")
        for step in self.steps:
            tree.add(self._running(step) if step.state == "running" else _line(step))
        yield tree

    def _running(self, step: Step) -> Table:
        said = last_said(self.logs / step.log) if step.log else ""
        line = Table.grid(padding=(0, 1))
        for _ in range(3):
            line.add_column(no_wrap=True)
        line.add_column()  # where the terminal is too narrow, this one alone gives way
        line.add_row(
            self._spinner,
            Text(f"{step.name:<24}", style="cyan"),
            Text(_time(step), style="cyan"),
            Text(said, style="dim", no_wrap=True, overflow="ellipsis"),
        )
        return line


def _line(step: Step) -> Text:
    attempts = f"  attempt {step.attempts}" if step.attempts > 1 else ""
    return Text.assemble(
        (MARKS[step.state], _STYLES[step.state]),
        f" {step.name:<24} ",
        (_time(step), "dim"),
        (attempts, "yellow"),
    )


def _time(step: Step) -> str:
    return "" if step.seconds is None else duration(step.seconds)
