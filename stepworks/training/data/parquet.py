"""Samples read from Parquet, row group by row group, so that the memory does not grow with the data.

What is in memory is the footers of the files and the row groups of which batches are made at the moment. Row groups of
64 to 128 MB are read best: small ones are taken together to blocks of at least 16 MB, but a file of 10 GB in one row
group is read as a whole, and needs as much memory.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from stepworks.errors import DataError, NotFoundError
from stepworks.training.data.labels import refuse_other_labels
from stepworks.training.data.order import BLOCKS_AT_ONCE
from stepworks.training.data.samples import Inputs
from stepworks.training.machine import refusal

_BLOCK_BYTES = 16 * 1024 * 1024
# Beside the blocks that batches are made of: the one that was left and the one that is entered.
_KEPT_BLOCKS = BLOCKS_AT_ONCE + 2

Decoded = TypeVar("Decoded")


@dataclass(frozen=True)
class Columns:
    """Columns that become one tensor.

    Attributes:
        names: One name gives a tensor of shape [samples], or [samples, width] for a column of lists of one length.
            A sequence of names gives [samples, widths together], the columns beside each other.
        dtype: The tensor's type: float32, or int64 for codes and classes.
        classes: How many classes the values number, from 0 on; None for any values.
    """

    names: str | Sequence[str]
    dtype: torch.dtype
    classes: int | None = None

    def all_names(self) -> list[str]:
        """The names as a list."""
        return [self.names] if isinstance(self.names, str) else list(self.names)


class RowGroups(Generic[Decoded]):
    """The row groups of one Parquet file, or of all `*.parquet` of a folder in the order of their names.

    `block_sizes` are the rows of neighbouring row groups that are small enough to be kept together.

    Args:
        path: The file or the folder.
        columns: The columns that are read.
        decode: Makes of a row group what is kept of it, called with its table and with a name of it for messages. It
            raises a DataError for values that it cannot take.

    Raises:
        NotFoundError: There is no such file.
        DataError: A file is not Parquet or lacks a column, or there is no row.
    """

    def __init__(self, path: Path, columns: Sequence[str], decode: Callable[[pa.Table, str], Decoded]) -> None:
        self._columns = list(columns)
        self._decode = decode
        self._files = parquet_files(path)
        self._footers = [_footer(file, self._columns) for file in self._files]
        self._groups = [
            (file, group) for file, footer in enumerate(self._footers) for group in range(footer.num_row_groups)
        ]
        row_groups = [self._footers[file].row_group(group) for file, group in self._groups]
        self._rows = [each.num_rows for each in row_groups]
        self._bytes = [each.total_byte_size for each in row_groups]
        self._ends = np.cumsum(self._rows)
        self.block_sizes, block_bytes = _blocks(self._rows, self._bytes)
        if not sum(self._rows):
            raise DataError(
                f"There is no row in {path}",
                received=f"{len(self._files)} Parquet files without rows",
                expected="at least one row",
                what_to_do="Look at the step that wrote the data.",
            )
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, Future[Decoded]] = OrderedDict()
        self._kept_bytes = 0
        self._most_bytes = _KEPT_BLOCKS * max(block_bytes)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def parts(self, indices: torch.Tensor) -> Iterator[tuple[Decoded, NDArray[np.int64], NDArray[np.int64]]]:
        """Where the rows at `indices` are: a row group, rows of it, and their places among the indices.

        Raises:
            DataError: A row group cannot be read or decoded.
        """
        wanted = indices.numpy()
        groups = np.searchsorted(self._ends, wanted, side="right")
        for number in np.unique(groups).tolist():
            places = np.flatnonzero(groups == number)
            first = int(self._ends[number]) - self._rows[number]
            yield self._group(number), wanted[places] - first, places

    def fingerprint(self) -> str:
        """A digest of the sizes and the footers, which hold offsets, sizes and statistics of all columns.

        It costs the same for any size of data. A value that is changed in place, so that sizes and statistics stay as
        they were, is not seen.
        """
        digest = hashlib.sha256(str(self.block_sizes).encode())  # The order depends on them.
        for file in self._files:
            with file.open("rb") as opened:
                size = opened.seek(-8, 2) + 8
                footer_size = int.from_bytes(opened.read(4), "little")
                opened.seek(size - 8 - footer_size)
                digest.update(size.to_bytes(8, "little"))
                digest.update(opened.read(footer_size))
        return digest.hexdigest()

    def _group(self, number: int) -> Decoded:
        """A row group, read by the first thread that asks for it; others wait for that one."""
        with self._lock:
            waiting = self._kept.get(number)
            if waiting is not None:
                self._kept.move_to_end(number)
            else:
                reading: Future[Decoded] = Future()
                self._keep(number, reading)
        if waiting is not None:
            return waiting.result()
        try:
            decoded = self._read(number)
        except BaseException as error:
            self._forget(number, reading)
            reading.set_exception(error)
            raise
        reading.set_result(decoded)
        return decoded

    def _keep(self, number: int, reading: Future[Decoded]) -> None:
        self._kept[number] = reading
        self._kept_bytes += self._bytes[number]
        while self._kept_bytes > self._most_bytes and len(self._kept) > 1:
            oldest, _ = self._kept.popitem(last=False)
            self._kept_bytes -= self._bytes[oldest]

    def _forget(self, number: int, reading: Future[Decoded]) -> None:
        with self._lock:
            if self._kept.get(number) is reading:
                del self._kept[number]
                self._kept_bytes -= self._bytes[number]

    def _read(self, number: int) -> Decoded:
        file, group = self._groups[number]
        name = f"row group {group} of {self._files[file]}"
        try:
            table = self._table(file, group, self._columns)
        except (OSError, pa.ArrowException) as error:
            raise refusal(error) or DataError(
                f"Cannot read {name}",
                received=f"{self._torn_columns(file, group)}: {_first_line(error)}",
                expected="a row group that was written whole, and not changed since",
                what_to_do="Write the file again, or copy it again from where it came.",
            ) from error
        return self._decode(table, name)

    def _table(self, file: int, group: int, columns: list[str]) -> pa.Table:
        # Opened each time: an open file is not for several threads. With the footer at hand this reads nothing.
        with pq.ParquetFile(
            self._files[file], metadata=self._footers[file], pre_buffer=True, page_checksum_verification=True
        ) as opened:
            return opened.read_row_group(group, columns=columns)

    def _torn_columns(self, file: int, group: int) -> str:
        torn = []
        for column in self._columns:
            try:
                self._table(file, group, [column])
            except (OSError, pa.ArrowException):
                torn.append(column)
        return f"the column {', '.join(torn)}" if torn else "all columns together"


class ParquetSamples:
    """Samples whose inputs and targets are columns of numbers in Parquet.

    Args:
        path: A Parquet file, or a folder of `*.parquet`.
        inputs: Each becomes one argument of the model's `forward`.
        targets: What becomes the targets.

    Raises:
        NotFoundError: There is no such file.
        DataError: A file is not Parquet or lacks a column, or there is no row. Missing values, values of the wrong
            kind and labels of no class are told when their row group is read.
    """

    def __init__(self, path: Path, inputs: Sequence[Columns], targets: Columns) -> None:
        self._tensors = [*inputs, targets]
        names = dict.fromkeys(name for columns in self._tensors for name in columns.all_names())
        self._shapes: dict[int, tuple[int, ...]] = {}
        self._groups = RowGroups(path, list(names), self._decoded)
        self.block_sizes = self._groups.block_sizes

    def __len__(self) -> int:
        return len(self._groups)

    def take(self, indices: torch.Tensor) -> tuple[Inputs, torch.Tensor]:
        """The inputs and targets of the rows at `indices`.

        Raises:
            DataError: A row group is torn, has a missing value, or does not fit; it is named, with its column.
        """
        taken: list[torch.Tensor] = []
        for decoded, rows, places in self._groups.parts(indices):
            if not taken:
                taken = [tensor.new_empty((len(indices), *tensor.shape[1:])) for tensor in decoded]
            for target, tensor in zip(taken, decoded, strict=True):
                target[torch.from_numpy(places)] = tensor[torch.from_numpy(rows)]
        *inputs, targets = taken
        return tuple(inputs), targets

    def fingerprint(self) -> str:
        """A digest of the files' sizes and footers; see `RowGroups.fingerprint`."""
        return self._groups.fingerprint()

    def _decoded(self, table: pa.Table, name: str) -> list[torch.Tensor]:
        tensors = []
        for number, columns in enumerate(self._tensors):
            arrays = [numbers(table, column, columns.dtype, name) for column in columns.all_names()]
            if isinstance(columns.names, str):
                values = arrays[0]
            else:
                # With an empty one in front: a table may have no categories at all.
                nothing = np.empty((table.num_rows, 0), str(columns.dtype).removeprefix("torch."))
                values = np.concatenate([nothing, *(array.reshape(table.num_rows, -1) for array in arrays)], axis=1)
            if columns.classes is not None:
                refuse_other_labels(values, columns.classes, f"The column {', '.join(columns.all_names())} of {name}")
            shape = self._shapes.setdefault(number, values.shape[1:])
            if shape != values.shape[1:]:
                raise DataError(
                    f"The column {', '.join(columns.all_names())} of {name} is of another width",
                    received=f"{list(values.shape[1:])} numbers a row",
                    expected=f"{list(shape)}, as in the row group that was read first",
                    what_to_do="Write lists of one length in all rows.",
                )
            tensors.append(torch.from_numpy(np.require(values, requirements=["C", "W"])))
        return tensors


def numbers(table: pa.Table, column: str, dtype: torch.dtype, name: str) -> NDArray[np.generic]:
    """A column as numbers of shape [rows], or [rows, width] for lists of one length.

    Args:
        table: The row group.
        column: The column's name in it.
        dtype: What the numbers are to be: a value that is no whole number is no int64.
        name: The row group, as a message calls it.

    Raises:
        DataError: A value is missing, is no number of this type, or the lists are of several lengths.
    """
    kind = np.dtype(str(dtype).removeprefix("torch."))
    array = table[column].combine_chunks()
    width: int | None = None
    missing = array.null_count
    if pa.types.is_list(array.type) or pa.types.is_large_list(array.type) or pa.types.is_fixed_size_list(array.type):
        lengths = np.unique(array.value_lengths().drop_null().to_numpy())
        if len(lengths) > 1:
            raise DataError(
                f"The lists in the column {column} of {name} are of several lengths",
                received=f"from {lengths.min()} to {lengths.max()}",
                expected="one length",
                what_to_do="Pad or cut the lists when the data is prepared.",
            )
        width = int(lengths[0]) if len(lengths) else 0
        array = array.flatten()
        missing += array.null_count
    if missing:
        raise DataError(
            f"The column {column} of {name} has missing values",
            received=f"{missing} missing in {table.num_rows} rows",
            expected="none",
            what_to_do="Fill them, or drop their rows, when the data is prepared.",
        )
    try:
        values: NDArray[np.generic] = array.cast(pa.from_numpy_dtype(kind)).to_numpy(zero_copy_only=False)
    except (pa.ArrowException, ValueError) as error:
        raise DataError(
            f"The column {column} of {name} cannot be read as {kind}",
            received=f"{table.schema.field(column).type}: {_first_line(error)}",
            expected=f"numbers that {kind} holds",
            what_to_do="Convert the column when the data is prepared, or name another one.",
        ) from error
    return values if width is None else values.reshape(table.num_rows, width)


def parquet_files(path: Path) -> list[Path]:
    """The file itself, or the `*.parquet` of a folder by name.

    Raises:
        NotFoundError: There is none.
    """
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if not files or not path.exists():
        raise NotFoundError(
            f"There is no Parquet file {path}" if not path.is_dir() else f"There is no Parquet file in {path}",
            received="a folder without *.parquet" if path.is_dir() else "nothing of that name",
            expected="a Parquet file, or a folder of *.parquet",
            what_to_do="Give the output of the step that wrote the data.",
        )
    return files


def _blocks(rows: Sequence[int], sizes: Sequence[int]) -> tuple[list[int], list[int]]:
    """The rows and the bytes of the blocks: neighbouring row groups, up to the size of a block or one larger."""
    block_rows, block_bytes = [0], [0]
    for row_count, size in zip(rows, sizes, strict=True):
        if block_bytes[-1] and block_bytes[-1] + size > _BLOCK_BYTES:
            block_rows.append(0)
            block_bytes.append(0)
        block_rows[-1] += row_count
        block_bytes[-1] += size
    return block_rows, block_bytes


def _footer(file: Path, columns: list[str]) -> pq.FileMetaData:
    try:
        footer = pq.read_metadata(file)
        held = set(footer.schema.to_arrow_schema().names)
    except (OSError, pa.ArrowException) as error:
        raise refusal(error) or DataError(
            f"Cannot read {file} as Parquet",
            received=_first_line(error),
            expected="a Parquet file",
            what_to_do="Write the file again, or copy it again from where it came.",
        ) from error
    missing = [column for column in columns if column not in held]
    if missing:
        raise DataError(
            f"{file} lacks the column {', '.join(missing)}",
            received=f"the columns {', '.join(sorted(held))}",
            expected=f"the columns {', '.join(columns)}",
            what_to_do="Correct the names of the columns in the settings, or write them into the file.",
        )
    return footer


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
