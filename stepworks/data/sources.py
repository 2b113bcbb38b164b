"""Reading the files that a table is made of, with faults named by file, column, line and value."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from stepworks.data.columns import ColumnType
from stepworks.data.recipe import SourceTable
from stepworks.data.tables import POLARS_TYPES
from stepworks.errors import DataError, ResourceError

_HEADER_LINES = 1


@dataclass(frozen=True)
class SourceFile:
    """A CSV file in memory.

    Attributes:
        path: Where it was read from.
        csv: Its text, unpacked.
        digest: The SHA-256 of the file as it lies there, in hex.
    """

    path: Path
    csv: bytes
    digest: str


def load_file(path: Path) -> SourceFile:
    """Read a `.csv` or `.csv.zip` file.

    Raises:
        DataError: The file is missing or empty, or is not a whole zip archive of one file.
        ResourceError: The file may not be read.
    """
    try:
        content = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError) as error:
        raise DataError(
            f"The source has no file {path.name}",
            received=f"the folder {path.parent}",
            expected=f"a file {path.name} in it",
            what_to_do="Correct `source`, or the file's name in the contract.",
        ) from error
    except OSError as error:
        raise ResourceError(
            f"Cannot read {path}",
            received=f"{type(error).__name__}: {error.strerror or error}",
            what_to_do="Correct the permission, and run again.",
        ) from error
    text = _unpack(path, content) if path.suffix == ".zip" else content
    if not text.strip():
        raise _broken(path, "an empty file", "a header line and at least one row")
    return SourceFile(path, text, hashlib.sha256(content).hexdigest())


def _unpack(path: Path, content: bytes) -> bytes:
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            if len(members) != 1:
                raise _broken(path, f"{len(members)} files in the archive", "one CSV file in the archive")
            return archive.read(members[0])
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise _broken(
            path, f"{len(content)} bytes that are not a whole zip archive ({error})", "a whole zip archive"
        ) from error


def parse_csv(file: SourceFile, table: SourceTable) -> pl.DataFrame:
    """Read the columns that a table takes from its file.

    Returns:
        The columns in the contract's order, rows in the file's order.

    Raises:
        DataError: A column is missing, a value has the wrong type, or the file is not CSV or has no rows.
    """
    types = table.types
    stored = {name: POLARS_TYPES["text"] if kind == "timestamp" else POLARS_TYPES[kind] for name, kind in types.items()}
    try:
        _require_columns(file, list(types))
        frame = _read_csv(file, table, stored).select(
            _as_type(pl.col(name), kind, strict=True) if kind == "timestamp" else pl.col(name)
            for name, kind in types.items()
        )
    except PolarsError as error:
        # The quick way does not say where; read again as text to find the place.
        raise _find_fault(file, table) or _broken(file.path, str(error).splitlines()[0], "a CSV file") from error
    if frame.is_empty():
        raise _broken(file.path, "a header line without rows", "at least one row")
    # NaN is arithmetic's word; in a table a missing value is a null.
    return frame.with_columns(pl.col(pl.Float64).fill_nan(None))


def _require_columns(file: SourceFile, names: list[str]) -> None:
    present = pl.read_csv(file.csv, n_rows=0, infer_schema=False).columns
    missing = [name for name in names if name not in present]
    if missing:
        raise DataError(
            f"{file.path.name} lacks the column {missing[0]}",
            received=f"the columns {present}",
            expected=f"the columns {names}",
            what_to_do="Correct the file, or the columns of this table in the contract.",
        )


def _read_csv(file: SourceFile, table: SourceTable, types: dict[str, pl.DataType]) -> pl.DataFrame:
    return pl.read_csv(
        file.csv,
        columns=list(types),
        schema_overrides=types,
        null_values=list(table.nulls),
        infer_schema=False,
    )


def _as_type(text: pl.Expr, kind: ColumnType, *, strict: bool) -> pl.Expr:
    if kind == "timestamp":
        return text.str.to_datetime(time_unit="us", time_zone="UTC", strict=strict).dt.replace_time_zone(None)
    if kind == "boolean":
        return text.replace_strict({"true": True, "false": False}, default=None, return_dtype=pl.Boolean)
    return text.cast(POLARS_TYPES[kind], strict=strict)


def _find_fault(file: SourceFile, table: SourceTable) -> DataError | None:
    """Find the first value that has the wrong type; missing when the file cannot even be read as text."""
    try:
        texts = _read_csv(file, table, dict.fromkeys(table.types, POLARS_TYPES["text"]))
    except PolarsError:
        return None
    for name, kind in table.types.items():
        fault = texts.select(
            line=pl.int_range(pl.len()) + _HEADER_LINES + 1,
            value=pl.col(name),
            ok=_as_type(pl.col(name), kind, strict=False),
        ).filter(pl.col("value").is_not_null() & pl.col("ok").is_null())
        if not fault.is_empty():
            line, value, _ = fault.row(0)
            return DataError(
                f"{file.path.name} has a wrong value in column {name}, line {line}",
                received=f"{value!r} ({fault.height} such value{'s' if fault.height > 1 else ''})",
                expected=f"{kind}, or one of the missing values {list(table.nulls)}",
                what_to_do="Correct the value, or the column's type or the missing values in the contract.",
            )
    return None


def _broken(path: Path, received: str, expected: str) -> DataError:
    return DataError(
        f"{path.name} cannot be read",
        received=received,
        expected=expected,
        what_to_do=f"Get the file again, then check the whole of {path}.",
    )
