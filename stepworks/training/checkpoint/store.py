"""Checkpoints that are whole or not there.

A checkpoint is a folder `step-00000042`. Its files are written below a temporary name and synced; the manifest is
written last; then the folder is renamed. A process killed at any instant leaves the last complete one in place. A
reader takes the newest whose manifest holds, and says which ones it passed over, and for which file.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from stepworks.errors import CheckpointError, ResourceError, TakenOverError
from stepworks.files import write_atomically
from stepworks.training.checkpoint.manifest import (
    MANIFEST_FILE,
    FileRecord,
    IncompleteError,
    Manifest,
    read_manifest,
    verify,
)

_FOLDER = re.compile(r"step-(\d{8,})")  # as a whole: a half-written `.writing-step-…` is not one
_WRITING_PREFIX = ".writing-"
_DELETING_PREFIX = ".deleting-"
_OWNER_FILE = "owner"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint."""

    folder: Path
    manifest: Manifest

    @property
    def step(self) -> int:
        """The optimizer steps that were taken when it was written."""
        return self.manifest.step


class CheckpointStore:
    """The checkpoints of one run. It is used by one process at a time, of several by rank 0.

    An attempt takes it over before it writes. One that goes on beside a later one, as on a node that was cut off and
    counted as lost, commits nothing from then on.

    Args:
        folder: Where they are; made when missing. It must be the run's own, the same for each attempt.
        identity: What the run is, field by field: model, settings, data, seed. Another identity's is refused.
        topology: How it is run: processes, strategy. It is written down, and may differ.
        keep: How many of the newest stay; at least two, since the disk may tear the newest.

    Raises:
        ResourceError: The folder cannot be made.
    """

    def __init__(
        self,
        folder: Path,
        identity: Mapping[str, str],
        *,
        topology: Mapping[str, str] | None = None,
        keep: int = 2,
    ) -> None:
        assert keep >= 2
        self.folder = folder
        self.identity = dict(identity)
        self.topology = dict(topology or {})
        self.keep = keep
        self._owner: bytes | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise not_writable(folder, error) from error

    def begin(self, step: int) -> Path:
        """Make the folder in which the checkpoint of a step is to be written; nothing reads it until `commit`.

        Raises:
            ResourceError: It cannot be made.
        """
        # The name is of its own each time: an attempt that is still ending cannot write into another's.
        writing = self.folder / f"{_WRITING_PREFIX}{_name(step)}-{uuid.uuid4().hex[:8]}"
        try:
            writing.mkdir()
        except OSError as error:
            raise not_writable(self.folder, error) from error
        return writing

    def commit(
        self,
        writing: Path,
        step: int,
        files: Mapping[str, FileRecord],
        *,
        monitored: float | None = None,
        best_step: int | None = None,
        higher_is_better: bool = False,
    ) -> Checkpoint:
        """Make a written folder the checkpoint of its step, then delete older ones but the best.

        Args:
            writing: What `begin` returned; its files are written and synced.
            step: The step.
            files: Each of its files by its path in the folder.
            monitored: The monitored figure at this step, where it was validated.
            best_step: The step whose checkpoint is the best so far, as the run decides it; None to have `best` decide.
            higher_is_better: Which monitored value `best` takes.

        Raises:
            TakenOverError: A later attempt has taken the store over.
            ResourceError: The disk is full or the folder is not writable. Earlier checkpoints are intact.
        """
        manifest = Manifest(
            step=step,
            identity=self.identity,
            topology=self.topology,
            monitored=monitored,
            best_step=best_step,
            files=dict(files),
        )
        destination = self.folder / _name(step)
        try:
            write_synced(writing / MANIFEST_FILE, manifest.model_dump_json(indent=1).encode())
            for folder in (writing, *(path for path in writing.rglob("*") if path.is_dir())):
                sync_file(folder)
            self.refuse_if_taken_over()
            self._put_in_place(writing, destination)
            sync_file(self.folder)
        except OSError as error:
            raise not_writable(self.folder, error) from error
        self._prune(None if best_step is not None else self.best(higher_is_better=higher_is_better))
        return Checkpoint(destination, manifest)

    def _put_in_place(self, writing: Path, destination: Path) -> None:
        """Rename. A complete checkpoint of the same step is of the same run and stays; a torn one is in the way."""
        if _is_complete(destination, verify):
            shutil.rmtree(writing)
            return
        if destination.exists():
            self._delete(destination)
        writing.rename(destination)

    def discard(self, writing: Path) -> None:
        """Delete what `begin` made; nothing is told if it is not there any more."""
        shutil.rmtree(writing, ignore_errors=True)

    def take_over(self) -> None:
        """Take the store over from earlier attempts, and delete what they had been writing or deleting.

        Raises:
            ResourceError: The folder is not writable.
        """
        self._owner = uuid.uuid4().hex.encode()
        write_atomically(self.folder / _OWNER_FILE, self._owner)
        for prefix in (_WRITING_PREFIX, _DELETING_PREFIX):
            for folder in self.folder.glob(f"{prefix}*"):
                shutil.rmtree(folder, ignore_errors=True)

    def refuse_if_taken_over(self) -> None:
        """See that no later attempt has taken the store over.

        Raises:
            TakenOverError: One has.
            ResourceError: It cannot be told.
        """
        if self._owner is None:
            return
        try:
            owner = (self.folder / _OWNER_FILE).read_bytes()
        except OSError as error:
            raise not_writable(self.folder, error) from error
        if owner != self._owner:
            raise TakenOverError(
                "The run was taken over by another attempt",
                received=f"another owner of {self.folder}",
                expected="one attempt at a time",
                what_to_do="Nothing: that attempt has begun later, and goes on from the last checkpoint.",
            )

    def newest(self) -> Checkpoint | None:
        """The newest complete checkpoint, all its digests verified; None where there is no checkpoint at all.

        Raises:
            CheckpointError: Checkpoints are there but none is complete, or the newest complete one is of another run.
        """
        faults = []
        for folder in self._folders():
            try:
                manifest = verify(folder)
            except IncompleteError as error:
                faults.append(f"{folder.name}: {error}")
                logger.warning("Passing over checkpoint %s", faults[-1])
                continue
            self._refuse_another(folder, manifest)
            return Checkpoint(folder, manifest)
        if faults:
            raise CheckpointError(
                f"No checkpoint in {self.folder} is complete",
                received="; ".join(faults),
                expected="one whose files have the sizes and digests of its manifest",
                what_to_do="Delete the folder to train from the start, or restore it.",
            )
        return None

    def best(self, *, higher_is_better: bool = False) -> Checkpoint | None:
        """The complete checkpoint with the best monitored value, the earliest of equals; None where none has one.

        It says which one stays where the run does not say it, and no more than that: one that is torn is passed over,
        so it may be another than the run's best.

        Args:
            higher_is_better: Whether the greatest or the least value is the best.
        """
        sign = 1.0 if higher_is_better else -1.0
        validated = [each for each in self._complete() if each.manifest.monitored is not None]
        return max(validated, key=lambda each: (sign * (each.manifest.monitored or 0.0), -each.step), default=None)

    def verified(self, step: int) -> Checkpoint:
        """The checkpoint of a step, all its digests verified.

        Raises:
            CheckpointError: It is not there, or not complete any more.
        """
        folder = self.folder / _name(step)
        try:
            return Checkpoint(folder, verify(folder))
        except IncompleteError as error:
            raise CheckpointError(
                f"The checkpoint of step {step} is not complete any more",
                received=f"{folder.name}: {error}" if folder.exists() else f"no folder {folder}",
                expected="files with the sizes and digests of its manifest",
                what_to_do=f"Restore {folder}, and run again; or delete {self.folder} to train from the start.",
            ) from error

    def _folders(self) -> list[Path]:
        """The folders that are named as checkpoints, the newest first."""
        found = [path for path in self.folder.iterdir() if _FOLDER.fullmatch(path.name)]
        return sorted(found, key=lambda path: int(path.name.removeprefix("step-")), reverse=True)

    def _complete(self) -> Iterator[Checkpoint]:
        """Those with a manifest and files of its sizes, the newest first."""
        for folder in self._folders():
            try:
                yield Checkpoint(folder, read_manifest(folder))
            except IncompleteError:
                continue

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

    def _prune(self, best: Checkpoint | None) -> None:
        """Delete all but the newest and the best. Those that are not complete neither count nor stay.

        What one of the newest names as the best stays whatever its state: a run that resumes from that one asks for it,
        and it may be restored.
        """
        complete = list(self._complete())
        named = (each.manifest.best_step for each in complete[: self.keep])
        kept = {each.folder for each in complete[: self.keep]}
        kept |= {self.folder / _name(step) for step in named if step is not None}
        kept |= {best.folder} if best else set()
        newest = complete[0].step if complete else 0
        for folder in self._folders():
            # A torn one that is newer than what was just written is left for people to look at.
            if folder not in kept and int(folder.name.removeprefix("step-")) <= newest:
                self._delete(folder)

    def _delete(self, folder: Path) -> None:
        """Rename first: a process killed while it deletes leaves no folder that is half a checkpoint."""
        aside = self.folder / f"{_DELETING_PREFIX}{folder.name}-{uuid.uuid4().hex[:8]}"
        try:
            folder.rename(aside)
            shutil.rmtree(aside)
        except OSError as error:
            logger.warning("Cannot delete the old checkpoint %s: %s", folder, error)


def committed_step(folder: Path) -> int | None:
    """The step of the newest checkpoint in a folder, its digests not looked at; None where there is none."""
    complete = (path for path in folder.glob("step-*") if _FOLDER.fullmatch(path.name) and _is_complete(path))
    return max((int(path.name.removeprefix("step-")) for path in complete), default=None)


def write_synced(path: Path, content: bytes) -> None:
    """Write a new file, and have the disk take it before this returns."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def not_writable(folder: Path, error: BaseException) -> ResourceError:
    """The error of a checkpoint that cannot be written."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return ResourceError(
        f"Cannot write a checkpoint to {folder}",
        received=f"{type(error).__name__}: {reason}",
        expected="a writable folder with free space",
        what_to_do="Free space on the checkpoint claim or correct its permissions, and run again: training resumes.",
    )


def _name(step: int) -> str:
    return f"step-{step:08d}"


def _is_complete(folder: Path, read: Callable[[Path], Manifest] = read_manifest) -> bool:
    try:
        read(folder)
    except IncompleteError:
        return False
    return True


def sync_file(path: Path) -> None:
    """Have the disk take a file, or the names in a folder, before this returns."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
