"""What makes a folder a complete checkpoint: a manifest that names each file with its size and digest."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

MANIFEST_FILE = "manifest.json"
_READ_BYTES = 4 * 1024 * 1024
_READERS = 4


class FileRecord(BaseModel):
    """A file of a checkpoint: its size in bytes and its SHA-256 in hexadecimal."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int
    sha256: str


class Manifest(BaseModel):
    """What `manifest.json` holds. It is written last, so a folder without it is no checkpoint.

    Attributes:
        format: The version of this layout.
        step: The optimizer steps that were taken.
        identity: What the run is, field by field; a checkpoint of another identity is refused.
        topology: How it was run: processes, strategy, versions. It may differ, and is told when it does.
        monitored: The value of the monitored figure where this checkpoint was validated, else None.
        best_step: The step of the best checkpoint so far, where the run says it: it stays as long as this one does.
        files: Each file below the folder but the manifest, by its path in it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    step: int
    identity: dict[str, str]
    topology: dict[str, str] = {}
    monitored: float | None = None
    best_step: int | None = None
    files: dict[str, FileRecord]


class IncompleteError(Exception):
    """A folder is no complete checkpoint; the message says which file is at fault, and why."""


def record_file(path: Path) -> FileRecord:
    """Read a file to its end, and say how long it is and what its digest is."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
            size += len(block)
    return FileRecord(size=size, sha256=digest.hexdigest())


def read_manifest(folder: Path) -> Manifest:
    """Read a checkpoint's manifest, and see that its files are there with their sizes; digests are not looked at.

    Raises:
        IncompleteError: It is no complete checkpoint.
    """
    try:
        manifest = Manifest.model_validate_json((folder / MANIFEST_FILE).read_bytes())
    except FileNotFoundError as error:
        raise IncompleteError(f"{MANIFEST_FILE} is missing") from error
    except (OSError, ValidationError) as error:
        raise IncompleteError(f"{MANIFEST_FILE} cannot be read: {str(error).splitlines()[0]}") from error
    for name, record in manifest.files.items():
        try:
            size = (folder / name).stat().st_size
        except OSError as error:
            raise IncompleteError(f"{name} cannot be read: {error.strerror}") from error
        if size != record.size:
            raise IncompleteError(f"{name} has {size} bytes, its manifest says {record.size}")
    return manifest


def verify(folder: Path) -> Manifest:
    """Read a checkpoint's manifest and all its files, and see that each has its size and its digest.

    Raises:
        IncompleteError: It is no complete checkpoint.
    """
    manifest = read_manifest(folder)
    with ThreadPoolExecutor(_READERS) as readers:  # hashing and reading both release the interpreter's lock
        for fault in readers.map(lambda name: _fault(folder / name, name, manifest.files[name]), manifest.files):
            if fault:
                raise IncompleteError(fault)
    return manifest


def _fault(path: Path, name: str, record: FileRecord) -> str:
    try:
        found = record_file(path)
    except OSError as error:
        return f"{name} cannot be read: {error.strerror}"
    return "" if found == record else f"{name} does not have the digest of its manifest"
