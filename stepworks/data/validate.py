"""Checking a table against its contract."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import polars as pl

from stepworks.data.columns import ROW_ID, Column
from stepworks.data.contract import TableContract
from stepworks.data.tables import POLARS_TYPES, read_table
from stepworks.errors import DataError
from stepworks.report.documents import Check, ValidationDocument

MOSTLY_MISSING = 0.5
"""A column in which a greater share of the rows is missing gets a warning."""

_SHOWN = 5


def validate_table(table: Path, contract: TableContract) -> ValidationDocument:
    """Check every rule of the contract.

    Errors: a column is missing or of another type, a value is missing where none may be, is not finite, is out of
    bounds or not allowed, the target has one class, there are no rows, an identifier occurs twice. Warnings: a
    feature has one value only, or is mostly missing.

    Args:
        table: A Parquet file that `ingest_table` wrote.
        contract: What it must hold.

    Returns:
        All checks; `passed` is false when one of severity error failed.

    Raises:
        NotFoundError: There is no such file.
        DataError: The file is not a table.
    """
    frame = read_table(table)
    checks = [_check("rows", frame.height > 0, str(frame.height), "at least one row")]
    checks += _check_schema(frame, contract)
    present = {name for name, column in contract.columns.items() if _has_type(frame, name, column)}
    if frame.height:
        for name, column in contract.columns.items():
            if name in present:
                checks += _check_values(frame[name], column)
        checks += _check_identifiers(frame, [name for name in contract.with_role("identifier") if name in present])
    passed = all(check.passed or check.severity == "warning" for check in checks)
    return ValidationDocument(table=contract.name, rows=frame.height, passed=passed, checks=checks)


def require_passed(validation: ValidationDocument) -> None:
    """Go on only with a table that keeps its contract.

    Raises:
        DataError: A check of severity error failed; the message lists them.
    """
    failed = [check for check in validation.checks if not check.passed and check.severity == "error"]
    if failed:
        raise DataError(
            f"The table {validation.table} breaks its contract in {len(failed)} of {len(validation.checks)} checks",
            received="; ".join(f"{check.name}: {check.received}" for check in failed),
            expected="; ".join(f"{check.name}: {check.expected}" for check in failed),
            what_to_do="Correct the data at its source, or the contract where the data is right.",
        )


def _check(
    name: str,
    passed: bool,
    received: str,
    expected: str,
    *,
    column: str | None = None,
    severity: Literal["error", "warning"] = "error",
) -> Check:
    full_name = f"{column} {name}" if column else name
    return Check(name=full_name, column=column, passed=passed, severity=severity, received=received, expected=expected)


def _has_type(frame: pl.DataFrame, name: str, column: Column) -> bool:
    return frame.schema.get(name) == POLARS_TYPES[column.type]


def _check_schema(frame: pl.DataFrame, contract: TableContract) -> list[Check]:
    checks = [_check("type", frame.schema.get(ROW_ID) == pl.UInt32, _type_of(frame, ROW_ID), "UInt32", column=ROW_ID)]
    for name, column in contract.columns.items():
        expected = f"{column.type} ({POLARS_TYPES[column.type]})"
        checks.append(_check("type", _has_type(frame, name, column), _type_of(frame, name), expected, column=name))
    return checks


def _type_of(frame: pl.DataFrame, name: str) -> str:
    return str(frame.schema[name]) if name in frame.columns else "no such column"


def _check_values(series: pl.Series, column: Column) -> list[Check]:
    name, rows, nulls = series.name, series.len(), series.null_count()
    checks = []
    if not column.nullable:
        checks.append(_check("nulls", nulls == 0, f"{nulls} missing", "none missing", column=name))
    if column.role == "target":
        classes = series.drop_nulls().unique().sort().to_list()
        checks.append(
            _check("classes", len(classes) == 2, f"the classes {classes}", "both true and false", column=name)
        )
    if column.type == "number":
        wrong = int((~series.is_finite()).sum())
        checks.append(_check("finite", wrong == 0, f"{wrong} not finite", "finite numbers", column=name))
    if column.minimum is not None or column.maximum is not None:
        checks.append(_check_range(series, column))
    if column.allowed is not None:
        found = series.drop_nulls().value_counts(sort=True)
        other = found.filter(~pl.col(name).is_in(list(column.allowed)))[name].to_list()
        received = f"{len(other)} other values: {other[:_SHOWN]}" if other else "only these"
        checks.append(_check("allowed", not other, received, f"one of {list(column.allowed)}", column=name))
    if column.role == "feature":
        checks.append(_warn("varies", series.drop_nulls().n_unique() > 1, "one value", "more than one value", name))
        share = nulls / rows
        expected = f"at most {MOSTLY_MISSING:.0%} missing"
        checks.append(_warn("present", share <= MOSTLY_MISSING, f"{share:.1%} missing", expected, name))
    return checks


def _warn(name: str, passed: bool, received: str, expected: str, column: str) -> Check:
    shown = expected if passed and name == "varies" else received
    return _check(name, passed, shown, expected, column=column, severity="warning")


def _check_range(series: pl.Series, column: Column) -> Check:
    low = float("-inf") if column.minimum is None else column.minimum
    high = float("inf") if column.maximum is None else column.maximum
    outside = int((~series.is_between(low, high)).sum())
    received = f"{series.min()!r} to {series.max()!r}" + (f", {outside} values outside" if outside else "")
    return _check("range", outside == 0, received, f"{low:g} to {high:g}", column=series.name)


def _check_identifiers(frame: pl.DataFrame, names: list[str]) -> list[Check]:
    if not names:
        return []
    double = frame.height - frame.select(names).n_unique()
    column = names[0] if len(names) == 1 else None
    return [_check("unique", double == 0, f"{double} doubled", f"each {' and '.join(names)} once", column=column)]
