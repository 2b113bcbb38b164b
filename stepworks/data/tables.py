"""Tables on disk: one Parquet file each, the same bytes for the same rows, whole or not there."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from stepworks.data.columns import ColumnType
from stepworks.errors import DataError, NotFoundError, ResourceError
from stepworks.files import write_atomically

POLARS_TYPES: dict[ColumnType, pl.DataType] = {
    "integer": pl.Int64(),
    "number": pl.Float64(),
    "text": pl.String(),
    "boolean": pl.Boolean(),
    "timestamp": pl.Datetime("us"),
}
"""How each type of the contract is stored. A timestamp has no zone: it is UTC, or local if the contract says so."""

# Fixed, because the library's own choice follows the number of threads, and the bytes with it.
_ROWS_PER_GROUP = 131_072


def write_table(table: pl.DataFrame, path: Path) -> None:
    """Write a table as one Parquet file (zstd) in one piece.

    Raises:
        ResourceError: The disk is full or the path is not writable.
    """
    content = BytesIO()
    table.rechunk().write_parquet(content, compression="zstd", compression_level=1, row_group_size=_ROWS_PER_GROUP)
    write_atomically(path, content.getvalue())


def read_table(path: Path, columns: list[str] | None = None) -> pl.DataFrame:
    """Read a table, or some of its columns.

    Raises:
        NotFoundError: There is no such file.
        DataError: The file is not a table, or lacks a column.
        ResourceError: The file may not be read.
    """
    try:
        return pl.read_parquet(path, columns=columns)
    except FileNotFoundError as error:
        raise NotFoundError(f"There is no table at {path}", what_to_do="Run the step that writes it first.") from error
    except PermissionError as error:
        raise ResourceError(
            f"Cannot read {path}", received=str(error), what_to_do="Correct the permission, and run again."
        ) from error
    except (PolarsError, OSError) as error:
        raise DataError(
            f"{path} is not the expected table",
            received=str(error).partition("\n")[0],  # polars adds its whole plan
            expected=f"a Parquet file with the columns {columns}" if columns else "a Parquet file",
            what_to_do="Run the step that writes it again, with the same contract.",
        ) from error


def share_true(target: pl.Series) -> float:
    """How often a target is true among its present values; zero when it has none."""
    present = target.drop_nulls()
    return int(present.sum()) / present.len() if present.len() else 0.0
