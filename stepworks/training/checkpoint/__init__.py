"""Checkpoints that are whole or not there.

A checkpoint is a folder `step-00000042` with its state and a manifest of sizes and digests. It is written under
a temporary name, synced, and renamed: a process killed at any instant leaves the last complete one in place.
A reader takes the newest whose manifest holds, and says which ones it passed over.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from stepworks.errors import CheckpointError, ResourceError

STATE_FILE = "state.pt"
MANIFEST_FILE = "manifest.json"
_PREFIX = "step-"
_TEMPORARY_PREFIX = ".writing-"

logger = logging.getLogger(__name__)


class Manifest(BaseModel):
    """What makes a checkpoint complete: its step, its configuration, and the state's size and SHA-256."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: int
    identity: dict[str, str]
    size: int
    sha256: str


class CheckpointStore:
    """The checkpoints of one run.

    Args:
        folder: Where they are; made when missing. It must be the run's own, the same for each attempt.
        identity: What the run is: model, settings, data, seed. Another identity's checkpoint is refused.
        keep: How many complete checkpoints stay; at least two, since the newest may be torn by the disk.
    """

    def __init__(self, folder: Path, identity: dict[str, str], *, keep: int = 2) -> None:
        assert keep >= 2
        self.folder = folder
        self.identity = identity
        self.keep = keep
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _not_writable(folder, error) from error

    def save(self, step: int, state: dict[str, Any]) -> Path:
        """Commit `state` as the checkpoint of `step`, then prune older ones.

        Raises:
            ResourceError: The disk is full or the folder is not writable. Earlier checkpoints are intact.
        """
        destination = self.folder / f"{_PREFIX}{step:08d}"
        buffer = io.BytesIO()
        torch.save(state, buffer)
        content = buffer.getvalue()
        manifest = Manifest(
            step=step, identity=self.identity, size=len(content), sha256=hashlib.sha256(content).hexdigest()
        )
        try:
            temporary = Path(tempfile.mkdtemp(dir=self.folder, prefix=_TEMPORARY_PREFIX))
            try:
                _write_synced(temporary / STATE_FILE, content)
                _write_synced(temporary / MANIFEST_FILE, manifest.model_dump_json(indent=1).encode())
                # A whole one of the same step is of the same run, so either will do; a torn one is in the way.
                if not _is_whole(destination):
                    shutil.rmtree(destination, ignore_errors=True)
                    temporary.rename(destination)
                _sync_folder(self.folder)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        except OSError as error:
            raise _not_writable(self.folder, error) from error
        self._prune()
        return destination

    def load_newest(self) -> tuple[int, dict[str, Any]] | None:
        """Load the newest complete checkpoint: its step and its state; None when there is none.

        Raises:
            CheckpointError: Checkpoints are there but none is complete, or the newest is of another run.
        """
        folders = sorted(self.folder.glob(f"{_PREFIX}*"), reverse=True)
        faults = []
        for folder in folders:
            try:
                manifest, content = _read(folder)
            except (OSError, ValidationError, ValueError) as error:
                faults.append(f"{folder.name}: {str(error).splitlines()[0]}")
                logger.warning("Passing over checkpoint %s", faults[-1])
                continue
            self._refuse_another(folder, manifest)
            return manifest.step, torch.load(io.BytesIO(content), weights_only=True)
        if faults:
            raise CheckpointError(
                f"No checkpoint in {self.folder} is complete",
                received="; ".join(faults),
                expected="one whose files have the sizes and digests of its manifest",
                what_to_do="Delete the folder to train from the start, or restore it.",
            )
        return None

    def _refuse_another(self, folder: Path, manifest: Manifest) -> None:
        different = [
            f"{key}: checkpoint {manifest.identity.get(key, 'none')}, now {self.identity.get(key, 'none')}"
            for key in sorted({*manifest.identity, *self.identity})
            if manifest.identity.get(key) != self.identity.get(key)
        ]
        if different:
            raise CheckpointError(
                f"The checkpoint {folder} was written by another configuration",
                received="; ".join(different),
                expected="the same model, settings, data and seed",
                what_to_do="Train with the settings of the checkpoint, or give another checkpoint folder.",
            )

    def _prune(self) -> None:
        whole = [folder for folder in sorted(self.folder.glob(f"{_PREFIX}*")) if _is_whole(folder)]
        for folder in whole[: -self.keep]:
            shutil.rmtree(folder, ignore_errors=True)
        for folder in self.folder.glob(f"{_TEMPORARY_PREFIX}*"):
            shutil.rmtree(folder, ignore_errors=True)


def _is_whole(folder: Path) -> bool:
    try:
        _read(folder)
    except (OSError, ValidationError, ValueError):
        return False
    return True


def _read(folder: Path) -> tuple[Manifest, bytes]:
    manifest = Manifest.model_validate_json((folder / MANIFEST_FILE).read_bytes())
    content = (folder / STATE_FILE).read_bytes()
    if len(content) != manifest.size:
        raise ValueError(f"{STATE_FILE} has {len(content)} bytes, its manifest says {manifest.size}")
    if hashlib.sha256(content).hexdigest() != manifest.sha256:
        raise ValueError(f"{STATE_FILE} does not have the digest of its manifest")
    return manifest, content


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _not_writable(folder: Path, error: OSError) -> ResourceError:
    return ResourceError(
        f"Cannot write a checkpoint to {folder}",
        received=f"{type(error).__name__}: {error.strerror or error}",
        expected="a writable folder with free space",
        what_to_do="Free space on the checkpoint claim or correct its permissions, and run again: training resumes.",
    )
