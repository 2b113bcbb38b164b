"""Cleaning up when a process is told to end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_CLEAN_UP_SECONDS = 10.0
"""How long the end waits for the clean-up: somebody who presses Ctrl-C while the cluster is away wants to go home."""


@contextmanager
def cleaning_up_at_signals(clean_up: Callable[[], None]) -> Iterator[None]:
    """Clean up as soon as SIGTERM or SIGINT comes within the block, and end the block by an exception.

    The clean-up begins at once in a thread of its own: whatever the main thread is doing, and locks, it unwinds
    meanwhile. A task pod of Kubeflow Pipelines is gone a second or two after SIGTERM, however long its grace period.
    Further signals are ignored while the block unwinds; then the handler that there was before gets the first one.
    Only the main thread can handle signals; in any other the block runs without.

    Args:
        clean_up: Cleans up; is called once, in another thread, and must not raise.

    Raises:
        SystemExit: SIGTERM came, and nobody had another handler for it; the code is 143.
        KeyboardInterrupt: SIGINT came.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    cleaner = threading.Thread(target=clean_up, name="clean up", daemon=True)

    def handle(number: int, _frame: FrameType | None) -> None:
        if received:
            return
        received.append(number)
        cleaner.start()
        raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)

    previous = {number: signal.getsignal(number) for number in _SIGNALS}
    # One that is ignored, as under nohup, stays ignored; None is a handler that is not Python's.
    handled = {number: handler for number, handler in previous.items() if handler not in (signal.SIG_IGN, None)}
    try:
        for number in handled:
            signal.signal(number, handle)
        yield
    finally:
        if received:
            cleaner.join(_CLEAN_UP_SECONDS)
        for number, handler in handled.items():
            signal.signal(number, handler)
        before = handled.get(signal.Signals(received[0])) if received else None
        if callable(before) and before is not signal.default_int_handler:
            before(received[0], None)
