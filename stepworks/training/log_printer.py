"""Printing, in the step that waits, what training prints in pods elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from stepworks.files import Tail
from stepworks.training.workspace import Workspace

_LOOK_SECONDS = 1.0


@contextmanager
def printing_log(workspace: Workspace, say: Callable[[str], None]) -> Iterator[None]:
    """Print what rank 0 adds to its log within the block.

    What was there before was printed by an earlier attempt, and is left out. A claim that cannot be read for a moment
    holds nothing up.

    Args:
        workspace: The run's own folder.
        say: Is told each line.
    """
    ended = threading.Event()
    log = Tail(workspace.log(0))

    def follow() -> None:
        while not ended.wait(_LOOK_SECONDS):
            for line in log.lines():
                say(line)
        for line in log.lines():
            say(line)

    thread = threading.Thread(target=follow, name="log", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
