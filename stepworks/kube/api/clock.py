"""The time that waits and retries go by, so that tests can bring their own."""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """Time that only goes forward."""

    def now(self) -> float:
        """The present, in seconds since some moment."""
        ...

    def sleep(self, seconds: float, wake: threading.Event | None = None) -> None:
        """Sleep for so long, or until `wake` is set."""
        ...


class SystemClock:
    """The time of this machine."""

    def now(self) -> float:
        """The present, in seconds since some moment."""
        return time.monotonic()

    def sleep(self, seconds: float, wake: threading.Event | None = None) -> None:
        """Sleep for so long, or until `wake` is set."""
        # An event, and not time.sleep, so that one call covers both; a signal's handler runs at once in either.
        (wake or threading.Event()).wait(seconds)
