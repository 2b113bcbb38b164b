"""The course of training as lines of JSON. Whoever reads it needs no torch."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

Listener = Callable[[str, dict[str, Any]], None]


class MetricsFile:
    """Appends to `metrics.jsonl`; each line is on its way to the disk when `write` returns.

    Args:
        path: The file; None to write nothing, as all processes but one do.
        listeners: Called with the kind and the figures of each line.
    """

    def __init__(self, path: Path | None, listeners: Sequence[Listener] = ()) -> None:
        self._path = path
        self._listeners = listeners

    def begin(self, step: int) -> None:
        """Drop what earlier attempts wrote about later steps, which are taken again. Call it before the first `write`.

        What is dropped is the end of the file, which goes in one go: a kill leaves all of it or none, and whoever
        follows the file finds what stays where it was. Where training resumes, a line `resumed` follows: its
        `lost_steps` are those that lines had told of.

        Args:
            step: The step that this attempt resumes after; 0 if it begins anew.
        """
        if self._path is None:
            return
        last = step
        if self._path.exists():
            with self._path.open("r+b") as file:
                kept, last = _kept(file, step)
                file.truncate(kept)
        if step:
            self.write("resumed", step=step, lost_steps=last - step)

    def write(self, kind: str, **figures: Any) -> None:
        """Add a line.

        Args:
            kind: What it is about: `step`, `epoch`, `resumed`, `report`.
            **figures: As JSON can hold them; what is not finite is written as null.
        """
        if self._path is None:
            return
        finite = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in figures.items()
        }
        line = json.dumps({"kind": kind, "time": time.time(), **finite}) + "\n"
        with self._path.open("ab") as file:
            if _is_torn(self._path):
                file.write(b"\n")
            file.write(line.encode())
        for listener in self._listeners:
            listener(kind, figures)


def _is_torn(path: Path) -> bool:
    """Whether the last line of a file has no end: what wrote it was killed."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        if not size:
            return False
        file.seek(size - 1)
        return file.read() != b"\n"


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics file that count.

    A line that was torn by a kill is left out, and so is what precedes a line `resumed` and tells of later steps: a
    command of your own may write one where it resumes.
    """
    lines: list[dict[str, Any]] = []
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return lines
    for line in map(parsed, content.split(b"\n")):
        if line is None:
            continue
        if line.get("kind") == "resumed":
            lines = [each for each in lines if _step(each) <= _step(line)]
        lines.append(line)
    return lines


def _kept(lines: Iterable[bytes], step: int) -> tuple[int, int]:
    """How many bytes there are before the first line about a later step, and the last step that a line tells of."""
    position, kept, last = 0, None, step
    for text in lines:
        line = parsed(text)
        if line is not None and _step(line) > step:
            kept = position if kept is None else kept
            last = max(last, _step(line))
        position += len(text)
    return position if kept is None else kept, last


def parsed(text: bytes) -> dict[str, Any] | None:
    """A line of a metrics file; None if it is empty, torn, or no object."""
    try:
        line = json.loads(text)
    except ValueError:
        return None
    return line if isinstance(line, dict) else None


def _step(line: dict[str, Any]) -> int:
    """The step that a line tells of; 0 for one that tells of none."""
    step = line.get("step")
    return step if isinstance(step, int) else 0
