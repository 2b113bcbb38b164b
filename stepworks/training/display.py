"""Showing the course of training to people: a bar on a terminal, lines in a log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_SECONDS_BETWEEN_LINES = 30.0

logger = logging.getLogger(__name__)


class Display:
    """Listens to the lines of metrics. To be used as a context.

    Args:
        console: Where to; on a terminal it is a bar, elsewhere a line every half a minute.
        clock: Seconds; it never goes back.
    """

    def __init__(self, console: Console | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        console = console or Console()
        self._bar = (
            Progress(
                TextColumn("epoch {task.fields[epoch]}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("loss {task.fields[loss]:.4g}  {task.fields[speed]:.0f} samples/s"),
                TimeRemainingColumn(),
                console=console,
                transient=True,
            )
            if console.is_terminal
            else None
        )
        self._clock = clock
        self._told_at = clock()

    def __enter__(self) -> Display:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, kind: str, figures: dict[str, Any]) -> None:
        """Show a line of metrics, if it is about a step."""
        if kind != "step":
            return
        shown = {"epoch": figures["epoch"], "loss": figures["loss"], "speed": figures["samples_per_second"]}
        if self._bar is not None:
            task = self._bar.task_ids[0] if self._bar.task_ids else self._bar.add_task("", total=figures["of"], **shown)
            self._bar.update(task, completed=figures["step"], **shown)
        elif self._clock() - self._told_at >= _SECONDS_BETWEEN_LINES:
            self._told_at = self._clock()
            logger.info(
                "step %d of %d  epoch %d  loss %.4f  %.0f samples/s  waited for data %.1f %%",
                figures["step"],
                figures["of"],
                figures["epoch"],
                figures["loss"],
                figures["samples_per_second"],
                100 * figures["data_wait_share"],
            )
