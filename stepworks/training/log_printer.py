"""Printing, in the step that waits, what training prints in pods elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

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
