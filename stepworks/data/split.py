"""Splitting a table into what a model learns from, what it is tuned on and what it is judged by."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import polars as pl

from stepworks.data.columns import ROW_ID
from stepworks.data.contract import TableContract
from stepworks.data.tables import read_table, share_true, write_table
from stepworks.errors import DataError, ParameterError
from stepworks.report.documents import SplitDocument, SplitPart


def split_by_time(
    table: Path,
    contract: TableContract,
    validation_from: str,
    test_from: str,
    *,
    train: Path,
    validation: Path,
    test: Path,
) -> SplitDocument:
    """Split rows by the contract's time column, so that a model is judged on what comes after it has learned.

    Every row goes to exactly one part: train is before `validation_from`, validation from there and before
    `test_from`, test from there on. Nothing is written unless every part can be used.

    Args:
        table: A Parquet file that `ingest_table` wrote.
        contract: Its contract.
        validation_from: The first moment of validation, itself included, as ISO 8601 without a zone.
        test_from: The first moment of test, itself included, as ISO 8601 without a zone.
        train: Where to write the rows before `validation_from`.
        validation: Where to write the rows from `validation_from` and before `test_from`.
        test: Where to write the rows from `test_from` on.

    Raises:
        ParameterError: A bound is not a moment, or `test_from` is not after `validation_from`.
        ConfigurationError: The contract has no time column.
        DataError: A row has no time, or a part is empty or holds one class of the target only.
        NotFoundError: There is no such table.
        ResourceError: A part cannot be written.
    """
    bounds = _bounds(validation_from, test_from)
    frame = read_table(table, [ROW_ID, *contract.columns])
    parts = _parts(frame, contract.time_column, *bounds)
    _require_usable(parts, frame, contract)
    for part, path in {"train": train, "validation": validation, "test": test}.items():
        write_table(parts[part], path)
    described = [_describe(part, rows, contract) for part, rows in parts.items()]
    return SplitDocument(method="time", column=contract.time_column, parts=described)


def _bounds(validation_from: str, test_from: str) -> tuple[datetime, datetime]:
    """The first moments of validation and of test."""
    first_validation = _moment("validation_from", validation_from)
    first_test = _moment("test_from", test_from)
    if first_test <= first_validation:
        raise ParameterError(
            "The split has no room for validation",
            received=f"validation_from={validation_from}, test_from={test_from}",
            expected="test_from after validation_from",
            what_to_do="Correct one of the two parameters.",
        )
    return first_validation, first_test


def _moment(parameter: str, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is not None:
        raise ParameterError(
            f"The parameter {parameter} is not a moment",
            received=repr(text),
            expected="a date or a date and time in ISO 8601 without a zone, for example 2013-10-01",
            what_to_do=f"Correct {parameter}.",
        )
    return moment


def _parts(frame: pl.DataFrame, name: str, first_validation: datetime, first_test: datetime) -> dict[str, pl.DataFrame]:
    """The rows of each part, by the time in the column `name`."""
    if frame[name].has_nulls():
        raise DataError(
            f"Rows without {name} belong to no part of a split by time",
            received=f"{frame[name].null_count()} rows without {name}",
            expected="a time in every row",
            what_to_do="Drop these rows in the contract, or correct the data.",
        )
    time = pl.col(name)
    return {
        "train": frame.filter(time < first_validation),
        "validation": frame.filter((time >= first_validation) & (time < first_test)),
        "test": frame.filter(time >= first_test),
    }


def _require_usable(parts: dict[str, pl.DataFrame], frame: pl.DataFrame, contract: TableContract) -> None:
    """Refuse a split with a part that does not hold both classes."""
    target, time = contract.target.name, frame[contract.time_column]
    for part, rows in parts.items():
        classes = rows[target].drop_nulls().n_unique()
        if classes < 2:
            raise DataError(
                f"The {part} part of the split cannot be used",
                received=f"{rows.height} rows with {classes} of the two classes of {target}; "
                f"the table has {time.name} from {_iso(time.min())} to {_iso(time.max())}",
                expected=f"rows with {target} true and rows with {target} false",
                what_to_do="Move validation_from or test_from, or ingest more rows.",
            )


def _describe(name: str, rows: pl.DataFrame, contract: TableContract) -> SplitPart:
    time = rows[contract.time_column]
    rate = share_true(rows[contract.target.name])
    return SplitPart(name=name, rows=rows.height, first=_iso(time.min()), last=_iso(time.max()), target_rate=rate)


def _iso(moment: object) -> str:
    return moment.isoformat() if isinstance(moment, datetime) else "nothing"
