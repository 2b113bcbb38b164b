"""The log of a step while it runs and after: where its attempts begin, and what it said last."""

from __future__ import annotations

import re
from pathlib import Path

from stepworks.files import read_tail

ATTEMPT_MARK = "\n--- attempt "
"""Stands in a log between the attempts of a step."""
SHOWN_CHARACTERS = 300
"""How much of a line is shown at most."""

_UNPRINTABLE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[^\S\n\t ]|[\x00-\x08\x0e-\x1f\x7f]")
_TAIL_BYTES = 4096


def printable(text: str) -> str:
    """A text that cannot steer a terminal."""
    return _UNPRINTABLE.sub("", text)


def clipped(line: str) -> str:
    """A line that cannot flood a terminal."""
    return line if len(line) <= SHOWN_CHARACTERS else f"{line[:SHOWN_CHARACTERS]} …"


def last_said(log: Path) -> str:
    """The last whole line of a log by which a step tells how far it is; empty where there is none.

    What kfp writes is not of the step: its own lines begin with a bracket, and the values that it passes are JSON.
    """
    *whole, _ = read_tail(log, _TAIL_BYTES).split("\n")
    said = (line for line in reversed(whole) if line[:1].isalpha())
    return clipped(printable(next(said, "").rstrip()))
