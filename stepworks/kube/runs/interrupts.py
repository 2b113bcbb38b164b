"""Cleaning up when a process is told to end."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_CLEAN_UP_SECONDS = 10.0
"""How long the end waits for the clean-up: somebody who presses Ctrl-C while the cluster is away wants to go home."""
_LOOK_SECONDS = 0.1


class Interruption:
    """The signal that told the process to end.

    Attributes:
        number: Its number; 0 while none came.
    """

    def __init__(self) -> None:
        self.number = 0

    @property
    def came(self) -> bool:
        """Whether there was one."""
        return self.number != 0

    def check(self) -> None:
        """Raise what ends the block, if a signal came.

        The handler does so itself; but where it happens to run within a finalizer, Python drops what it raises.

        Raises:
            SystemExit: SIGTERM came.
            KeyboardInterrupt: SIGINT came.
        """
        if self.came:
            raise KeyboardInterrupt if self.number == signal.SIGINT else SystemExit(128 + self.number)


@contextmanager
def cleaning_up_at_signals(clean_up: Callable[[], None]) -> Iterator[Interruption]:
    """Clean up as soon as SIGTERM or SIGINT comes within the block, and end the block by an exception.

    The clean-up begins at once in a thread of its own: whatever the main thread is doing, and locks, it unwinds
    meanwhile. A task pod of Kubeflow Pipelines is gone a second or two after SIGTERM, however long its grace period.
    Further signals are ignored while the block unwinds; then the handler that there was before gets the first one. A
    second SIGINT ends the wait for the clean-up, which is ten seconds at most. Only the main thread can handle signals;
    in any other the block runs without.

    Args:
        clean_up: Cleans up; is called once, in another thread, and must not raise.

    Yields:
        What the block knows of a signal; once one came, it need not clean up itself.

    Raises:
        SystemExit: SIGTERM came, and nobody had another handler for it; the code is 143.
        KeyboardInterrupt: SIGINT came.
    """
    if threading.current_thread() is not threading.main_thread():
        yield Interruption()
        return
    interruption = Interruption()
    impatient = threading.Event()
    cleaner = threading.Thread(target=clean_up, name="clean up", daemon=True)

    def handle(number: int, _frame: FrameType | None) -> None:
        if interruption.came:
            if number == signal.SIGINT:
                impatient.set()
            return
        interruption.number = number
        cleaner.start()
        interruption.check()

    previous = {number: signal.getsignal(number) for number in _SIGNALS}
    # One that is ignored, as under nohup, stays ignored; None is a handler that is not Python's.
    handled = {number: handler for number, handler in previous.items() if handler not in (signal.SIG_IGN, None)}
    try:
        for number in handled:
            signal.signal(number, handle)
        yield interruption
    finally:
        if interruption.came:
            _wait_for(cleaner, impatient)
        for number, handler in handled.items():
            signal.signal(number, handler)
        before = handled.get(signal.Signals(interruption.number)) if interruption.came else None
        if callable(before) and before is not signal.default_int_handler:
            before(interruption.number, None)


def _wait_for(cleaner: threading.Thread, impatient: threading.Event) -> None:
    end = time.monotonic() + _CLEAN_UP_SECONDS
    while cleaner.is_alive() and not impatient.is_set() and time.monotonic() < end:
        cleaner.join(_LOOK_SECONDS)
