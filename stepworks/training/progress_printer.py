"""Printing, in the step that waits, what training prints in pods elsewhere."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stepworks.training.workspace import Workspace

_LOOK_SECONDS = 1.0
_PROGRESS_SECONDS = 30.0
"""How often at most a line of progress is printed: between two of them there may be thousands of steps."""


@contextmanager
def printing_progress(workspace: Workspace, say: Callable[[str], None]) -> Iterator[None]:
    """Print what rank 0 adds to its log, and where training is, within the block.

    What was there before the block was printed by an earlier attempt, and is left out. A claim that cannot be read for
    a moment holds nothing up.

    Args:
        workspace: The run's own folder.
        say: Is told each line.
    """
    ended = threading.Event()
    log, metrics = Tail(workspace.log(0)), Tail(workspace.metrics)

    def look(last: float) -> float:
        for line in log.lines():
            say(line)
        figures = _last_step(metrics.lines())
        if figures is None or time.monotonic() - last < _PROGRESS_SECONDS:
            return last
        say(_told(figures))
        return time.monotonic()

    def follow() -> None:
        last = -_PROGRESS_SECONDS
        while not ended.wait(_LOOK_SECONDS):
            last = look(last)
        look(last)

    thread = threading.Thread(target=follow, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class Tail:
    """The lines that are added to a file from now on, which need not be there yet.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rest = b""
        self._position = self._size()

    def lines(self) -> list[str]:
        """The lines that are complete since the last call; of a file that was begun anew, all."""
        size = self._size()
        if size < self._position:
            self._position, self._rest = 0, b""
        if size == self._position:
            return []
        try:
            with self._path.open("rb") as file:
                file.seek(self._position)
                added = file.read()
        except OSError:
            return []
        self._position += len(added)
        *complete, self._rest = (self._rest + added).split(b"\n")
        return [line.decode(errors="replace") for line in complete]

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except OSError:
            return 0


def _last_step(lines: list[str]) -> dict[str, Any] | None:
    """The newest figures of a step among lines of metrics."""
    for line in reversed(lines):
        try:
            figures = json.loads(line)
        except ValueError:
            continue
        if isinstance(figures, dict) and figures.get("kind") in ("step", "report"):
            return figures
    return None


def _told(figures: dict[str, Any]) -> str:
    numbers = {
        name: value
        for name, value in figures.items()
        if name not in ("kind", "time", "step") and isinstance(value, int | float)
    }
    told = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in numbers.items())
    return f"Step {figures.get('step')}: {told}"
