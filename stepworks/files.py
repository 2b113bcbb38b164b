"""Files that are whole or not there, and the ends of those that grow."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from stepworks.errors import ResourceError


def write_atomically(path: Path, content: bytes) -> Path:
    """Write `content` to `path` so that a reader sees the old file or the new one, never a part.

    The file gets the permissions that any new file of this process gets, so that another user's pod can read it.

    Raises:
        ResourceError: The disk is full or the path is not writable.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                os.fchmod(file.fileno(), 0o666 & ~_umask())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ResourceError(
            f"Cannot write {path}",
            received=f"{type(error).__name__}: {error.strerror or error}",
            expected="a writable folder with free space",
            what_to_do="Free space, or correct the permission, and run again.",
        ) from error
    return path


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def read_tail(path: Path, size: int = 64 * 1024) -> str:
    """The last `size` bytes of a log file as text; empty when there is no such file."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - size))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


class Tail:
    """The lines that are added to a file, which need not be there yet.

    Args:
        path: The file.
        from_start: Whether what it holds already is told, too.
    """

    def __init__(self, path: Path, *, from_start: bool = False) -> None:
        self._path = path
        self._rest = b""
        self._position = 0 if from_start else self._size()

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

    def rest(self) -> str:
        """What follows the last complete line that was told; it is told once."""
        rest, self._rest = self._rest, b""
        return rest.decode(errors="replace")

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except OSError:
            return 0
