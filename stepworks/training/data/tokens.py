"""Texts as rows of tokens of one length, packed once, so that a sample is one read of one place.

A folder of token shards holds `tokens-00000.bin`, and so on, and the manifest `tokens.json`, which is written last: a
folder without it is not complete. A row is `length` + 1 words of 32 bits, little-endian: the model sees the first
`length` tokens, and is to say the last `length`. The highest bit of a word marks a token that is not trained on: that
of a prompt, and what fills the last row. Texts follow each other without a gap, so a row may hold several, and a text
may go on in the next row, which begins with the token that the row before ends with.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stepworks.errors import DataError, NotFoundError, ResourceError, StepworksError
from stepworks.files import write_atomically
from stepworks.settings_file import describe_faults
from stepworks.training.data.samples import Inputs
from stepworks.training.machine import refusal

MANIFEST_FILE = "tokens.json"
NOT_TRAINED = -100
"""The target of a token that is not trained on: what torch's cross-entropy leaves out."""

_SHARD_BYTES = 1024 * 1024 * 1024
_WORD = np.dtype("<u4")
_MARK = np.uint32(1 << 31)


class Shard(BaseModel):
    """One file: its name, its rows, and the SHA-256 of its content."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    rows: int = Field(gt=0)
    sha256: str


class TokenManifest(BaseModel):
    """What a folder of token shards holds.

    Attributes:
        length: The tokens that the model sees of a row.
        vocabulary: Every token is below this.
        shards: The files, in the order of their rows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    length: int = Field(gt=0)
    vocabulary: int = Field(gt=0, lt=2**31)
    shards: tuple[Shard, ...] = Field(min_length=1)


class TokenWriter:
    """Packs texts into token shards. To be used as a context: the manifest is written when it is left without error.

    The memory is that of one row and one text, whatever the size of the data.

    Args:
        folder: Where the shards are written; an earlier manifest in it is removed first.
        length: The tokens that the model is to see of a row.
        vocabulary: The number of tokens of the tokenizer.

    Raises:
        ResourceError: The folder cannot be written.
    """

    def __init__(self, folder: Path, *, length: int, vocabulary: int) -> None:
        assert length >= 1
        self._folder, self._length, self._vocabulary = folder, length, vocabulary
        self._rows_a_shard = max(1, _SHARD_BYTES // ((length + 1) * _WORD.itemsize))
        self._pending = np.empty(0, _WORD)
        self._shards: list[Shard] = []
        self._file: IO[bytes] | None = None
        self._rows_in_file = 0
        self._digest = hashlib.sha256()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / MANIFEST_FILE).unlink(missing_ok=True)
        except OSError as error:
            raise self._not_writable(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._finish()
        elif self._file is not None:
            with contextlib.suppress(OSError):  # What is buffered does not fit on a full disk; that was said already.
                self._file.close()

    def add(self, tokens: Sequence[int], *, prompt: int = 0) -> None:
        """Add a text; its last token is to be the tokenizer's end of text.

        Args:
            tokens: The text's tokens.
            prompt: How many of the first tokens are not trained on.

        Raises:
            DataError: A token is not of the vocabulary.
            ResourceError: The disk is full.
        """
        words = np.asarray(tokens, dtype=np.int64)
        if len(words) and (words.min() < 0 or words.max() >= self._vocabulary):
            raise DataError(
                "A token is not of the vocabulary",
                received=f"tokens from {words.min()} to {words.max()}",
                expected=f"from 0 to {self._vocabulary - 1}",
                what_to_do="Write the tokens with the tokenizer and the vocabulary of the model.",
            )
        marked = words.astype(_WORD)
        marked[:prompt] |= _MARK
        pending = np.concatenate([self._pending, marked])
        rows = max(0, (len(pending) - 1) // self._length)
        for first in range(0, rows * self._length, self._length):
            self._write(pending[first : first + self._length + 1])
        self._pending = pending[rows * self._length :]

    def _finish(self) -> None:
        # One token is left when the last row is just full: it is the one that the row ends with.
        if len(self._pending) > 1:
            filling = np.full(self._length + 1 - len(self._pending), _MARK, _WORD)
            self._write(np.concatenate([self._pending, filling]))
        self._end_shard()
        if not self._shards:
            raise DataError(
                "There is no text to be packed",
                received=f"{len(self._pending)} tokens",
                expected="at least two: one to be seen, and one to be said",
                what_to_do="Look at the data that the texts were read from.",
            )
        manifest = TokenManifest(length=self._length, vocabulary=self._vocabulary, shards=tuple(self._shards))
        write_atomically(self._folder / MANIFEST_FILE, manifest.model_dump_json(indent=1).encode())

    def _write(self, row: NDArray[np.uint32]) -> None:
        content = row.tobytes()
        try:
            if self._file is None:
                self._file = (self._folder / self._shard_name()).open("wb")
            self._file.write(content)
        except OSError as error:
            raise self._not_writable(error) from error
        self._digest.update(content)
        self._rows_in_file += 1
        if self._rows_in_file == self._rows_a_shard:
            self._end_shard()

    def _end_shard(self) -> None:
        if self._file is None:
            return
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        except OSError as error:
            raise self._not_writable(error) from error
        self._shards.append(Shard(file=self._shard_name(), rows=self._rows_in_file, sha256=self._digest.hexdigest()))
        self._file, self._rows_in_file, self._digest = None, 0, hashlib.sha256()

    def _shard_name(self) -> str:
        return f"tokens-{len(self._shards):05d}.bin"

    def _not_writable(self, error: OSError) -> ResourceError:
        return ResourceError(
            f"Cannot write token shards to {self._folder}",
            received=f"{type(error).__name__}: {error.strerror or error}",
            expected="a writable folder with free space",
            what_to_do="Free space, or correct the permission, and run again.",
        )


class TokenSamples:
    """The rows of a folder of token shards.

    Rows are read by `pread`, and not through a memory map: a disk that fails under a map ends the process with
    SIGBUS, and a map's page faults hold Python's lock. What was read stays in the page cache of the system, which
    gives it up when memory is short; the process itself holds no more than the batches.

    Args:
        folder: What `TokenWriter` wrote.

    Raises:
        NotFoundError: There is no manifest.
        DataError: The manifest or a shard is not what was written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.manifest = _read_manifest(folder)
        self.classes = self.manifest.vocabulary
        self._width = self.manifest.length + 1
        self._ends = np.cumsum([shard.rows for shard in self.manifest.shards])
        for shard in self.manifest.shards:
            self._check_size(shard)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def take(self, indices: torch.Tensor) -> tuple[Inputs, torch.Tensor]:
        """The tokens, and those that follow them, of the rows at `indices`.

        Returns:
            The tokens and the targets, both int64 of shape [rows, length]; a target is `NOT_TRAINED` where the token
            is not to be trained on.

        Raises:
            DataError: A shard cannot be read, or holds what is no token; the file and the row are named.
        """
        wanted = indices.numpy()
        words = np.empty((len(wanted), self._width), _WORD)
        shards = np.searchsorted(self._ends, wanted, side="right")
        for number in np.unique(shards).tolist():
            shard = self.manifest.shards[number]
            first = int(self._ends[number]) - shard.rows
            with self._open(shard) as file:
                for place in np.flatnonzero(shards == number).tolist():
                    self._read_row(file, shard, int(wanted[place]) - first, words[place])
        tokens = (words & ~_MARK).astype(np.int64)
        targets = np.where(words[:, 1:] & _MARK, NOT_TRAINED, tokens[:, 1:])
        return (torch.from_numpy(np.ascontiguousarray(tokens[:, :-1])),), torch.from_numpy(targets)

    def fingerprint(self) -> str:
        """The digest of the manifest, which holds the shards' digests; the shards themselves are not read again."""
        return hashlib.sha256(self.manifest.model_dump_json().encode()).hexdigest()

    def _check_size(self, shard: Shard) -> None:
        path = self._folder / shard.file
        expected = shard.rows * self._width * _WORD.itemsize
        try:
            size = path.stat().st_size
        except OSError as error:
            raise self._unreadable(shard, error) from error
        if size != expected:
            raise DataError(
                f"The token shard {path} is not as long as its rows",
                received=f"{size} bytes",
                expected=f"{expected} bytes: {shard.rows} rows of {self._width} words of {_WORD.itemsize} bytes",
                what_to_do="Write the shards again, or copy the folder again, with its manifest.",
            )

    def _open(self, shard: Shard) -> IO[bytes]:
        try:
            return (self._folder / shard.file).open("rb", buffering=0)
        except OSError as error:
            raise self._unreadable(shard, error) from error

    def _read_row(self, file: IO[bytes], shard: Shard, row: int, words: NDArray[np.uint32]) -> None:
        size = words.nbytes
        try:
            read = os.preadv(file.fileno(), [words.data], row * size)
        except OSError as error:
            raise self._unreadable(shard, error) from error
        highest = int((words & ~_MARK).max())
        if read != size or highest >= self.manifest.vocabulary:
            raise DataError(
                f"Row {row} of the token shard {self._folder / shard.file} is torn",
                received=f"{read} of {size} bytes" if read != size else f"the token {highest}",
                expected=f"{self._width} tokens below {self.manifest.vocabulary}",
                what_to_do="Write the shards again, or copy the folder again, with its manifest.",
            )

    def _unreadable(self, shard: Shard, error: OSError) -> StepworksError:
        return refusal(error) or DataError(
            f"Cannot read the token shard {self._folder / shard.file}",
            received=error.strerror or str(error),
            expected="a file that the manifest names",
            what_to_do="Write the shards again, or copy the folder again, with its manifest.",
        )


def _read_manifest(folder: Path) -> TokenManifest:
    path = folder / MANIFEST_FILE
    try:
        return TokenManifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise NotFoundError(
            f"There are no complete token shards in {folder}",
            received=f"{MANIFEST_FILE}: {error.strerror or error}",
            expected="a folder that was written to the end",
            what_to_do="Run the step that packs the texts, again if it was ended early.",
        ) from error
    except ValidationError as error:
        raise DataError(
            f"The manifest {path} is not one of token shards",
            received=describe_faults(error),
            expected="what was written beside the shards",
            what_to_do="Write the shards again.",
        ) from error
