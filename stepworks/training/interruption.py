"""Being told to stop: SIGTERM with a time to end in, or a file.

The handler only notes the time. What follows is decided between two steps, by all processes alike. If the time runs
out, because the others do not answer or the disk does not, the process ends itself; what was committed is intact.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from types import FrameType, TracebackType

from stepworks.training.outcome import TRY_AGAIN_EXIT_CODE

_STOP_FILE_SECONDS = 1.0
_LAST_MOMENT_SECONDS = 2.0
"""How long before the end of the grace period the process gives up, so that it can still say how it ended."""


class Reason(IntEnum):
    """Why training is to stop; of several processes' the greatest counts."""

    NONE = 0
    STOP_FILE = 1
    SIGTERM = 2


class Interruption:
    """Notes that this process is to stop. To be used as a context, in the main thread.

    Args:
        grace_seconds: How long the process may go on after SIGTERM.
        stop_file: Whoever makes this file asks to stop; None to look for none.
        on_deadline: Called right before the process ends itself since the time is over.
        clock: Seconds; it never goes back.
    """

    def __init__(
        self,
        grace_seconds: float,
        stop_file: Path | None = None,
        *,
        on_deadline: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._grace_seconds = grace_seconds
        self._stop_file = stop_file
        self._on_deadline = on_deadline
        self._clock = clock
        self._terminated_at: float | None = None
        self._signalled = threading.Event()
        self._over = threading.Event()
        self._looked_at = -_STOP_FILE_SECONDS
        self._stop_file_seen = False
        self._previous: signal.Handlers | Callable[[int, FrameType | None], object] | int | None = None

    def __enter__(self) -> Interruption:
        self._previous = signal.signal(signal.SIGTERM, self._note)
        threading.Thread(target=self._watch, name="grace-period", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._signalled.set()
        signal.signal(signal.SIGTERM, self._previous)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        if self._terminated_at is None:
            self._terminated_at = self._clock()
            self._signalled.set()

    @property
    def reason(self) -> Reason:
        """Why this process is to stop; the file is looked for once a second at most."""
        if self._terminated_at is not None:
            return Reason.SIGTERM
        if self._stop_file is not None and not self._stop_file_seen:
            now = self._clock()
            if now - self._looked_at >= _STOP_FILE_SECONDS:
                self._looked_at = now
                self._stop_file_seen = self._stop_file.exists()
        return Reason.STOP_FILE if self._stop_file_seen else Reason.NONE

    @property
    def seconds_left(self) -> float:
        """How long the process may go on; infinite unless SIGTERM came."""
        if self._terminated_at is None:
            return float("inf")
        return self._terminated_at + self._grace_seconds - self._clock()

    def _watch(self) -> None:
        self._signalled.wait()
        if self._over.wait(max(0.0, self.seconds_left - min(_LAST_MOMENT_SECONDS, self._grace_seconds / 4))):
            return
        # Not an exception: the main thread may wait in NCCL for a process that does not answer any more.
        try:
            self._on_deadline()
        finally:
            os._exit(TRY_AGAIN_EXIT_CODE)
