"""Ends the supervisor's process groups if the supervisor itself is killed and cannot.

Run as a program: standard input is a pipe whose other end only the supervisor holds. A line `+123` puts the
process group 123 under guard, `-123` takes it out. When the pipe ends, the supervisor is gone, by whatever way,
and the groups still under guard are ended. A pipe works alike on Linux and macOS, and unlike Linux's
parent-death signal it reaches descendants and does not fire when the thread that started a child ends.

Not covered: the guard being killed together with the supervisor, and a child in the instant between its start
and the line that announces it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterable

GRACE_SECONDS = 5.0
"""How long a process may take to end by itself after SIGTERM, before it is killed; the supervisor's, too."""

_POLL_SECONDS = 0.05


def watch(lines: Iterable[str], grace_seconds: float = GRACE_SECONDS) -> None:
    """Follow `lines` to their end, then end the groups that are still under guard.

    Args:
        lines: `+<group>` and `-<group>`.
        grace_seconds: Time between SIGTERM and SIGKILL.
    """
    groups: set[int] = set()
    for line in lines:
        group = int(line[1:])
        if line.startswith("+"):
            groups.add(group)
        else:
            groups.discard(group)
    groups = {group for group in groups if _signal(group, signal.SIGTERM)}
    deadline = time.monotonic() + grace_seconds
    while groups and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        groups = {group for group in groups if _signal(group, 0)}
    for group in groups:
        _signal(group, signal.SIGKILL)


def _signal(group: int, number: int) -> bool:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    with contextlib.suppress(ValueError):
        watch(sys.stdin)
