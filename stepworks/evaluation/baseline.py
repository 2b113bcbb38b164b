"""What a model has to be better than: how often it happened before, in the same place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from stepworks.data.columns import ROW_ID
from stepworks.data.tables import read_table
from stepworks.errors import EvaluationError, ParameterError
from stepworks.evaluation.predictions import SCHEMA

SMOOTHING_ROWS = 100.0


def historical_rate(
    train: Path, test: Path, keys: Sequence[str], target: str, smoothing_rows: float = SMOOTHING_ROWS
) -> pl.DataFrame:
    """Predict each row by the rate of its group in the training rows.

    Groups are nested: all rows, those with the same first key, with the same first two keys, and so on. The rate of
    a group of n rows, s of them positive, is (s + m r) / (n + m), where r is the rate of the group around it and m
    is `smoothing_rows`: few rows say little, and a group that was never seen has the rate of the one around it.

    Args:
        train: The rows that happened before.
        test: The rows to predict, with `row_id`.
        keys: Columns, or SQL expressions over columns such as `departure_minute // 60`, the broadest first.
        target: The column of the outcome, boolean or 0 and 1, in both tables.
        smoothing_rows: How many rows the surrounding rate counts for.

    Returns:
        Predictions for the rows of `test`, in its order.

    Raises:
        NotFoundError: A file is missing.
        DataError: A file is not a table.
        EvaluationError: A key or the target cannot be read from a table, or there are no training rows.
        ParameterError: There are no keys, or `smoothing_rows` is not positive.
    """
    if not keys or smoothing_rows <= 0:
        raise ParameterError(
            "The historical rate cannot be computed by these settings",
            received=f"keys={list(keys)}, smoothing_rows={smoothing_rows}",
            expected="at least one key, and more than 0 rows",
            what_to_do="Correct the settings.",
        )
    names = [f"key_{position}" for position in range(len(keys))]
    seen = _read(train, keys, names, target, "training")
    asked = _read(test, keys, names, target, "test", pl.col(ROW_ID).cast(pl.UInt32))
    if seen.is_empty():
        raise EvaluationError(
            "There is no history to take a rate from",
            received=f"no rows in {train}",
            expected="training rows",
            what_to_do="Give the rows that the model was trained on.",
        )
    asked = asked.with_columns(probability=pl.lit(seen["target"].mean()))
    for depth in range(1, len(names) + 1):
        asked = _refine(asked, seen, names[:depth], smoothing_rows)
    return asked.select(list(SCHEMA))


def _read(
    path: Path, keys: Sequence[str], names: Sequence[str], target: str, role: str, *more: pl.Expr
) -> pl.DataFrame:
    table = read_table(path)
    try:
        expressions = [pl.sql_expr(key).alias(name) for key, name in zip(keys, names, strict=True)]
        return table.select(*more, *expressions, pl.col(target).cast(pl.Int8).alias("target"))
    except PolarsError as error:
        raise EvaluationError(
            f"The historical rate cannot be computed from the {role} table",
            received=str(error).splitlines()[0],
            expected=f"{ROW_ID}, the keys {', '.join(keys)} and the target {target} from: {', '.join(table.columns)}",
            what_to_do="Correct the baseline's keys, or the target's name.",
        ) from error


def _refine(asked: pl.DataFrame, seen: pl.DataFrame, keys: list[str], smoothing_rows: float) -> pl.DataFrame:
    """Replace the rate of the surrounding groups by that of the groups of `keys`."""
    groups = seen.group_by(keys).agg(pl.col("target").cast(pl.Int64).sum().alias("positives"), pl.len().alias("rows"))
    positives, rows = pl.col("positives").fill_null(0), pl.col("rows").fill_null(0)
    return (
        asked.join(groups, on=keys, how="left", nulls_equal=True, maintain_order="left")
        .with_columns(probability=(positives + smoothing_rows * pl.col("probability")) / (rows + smoothing_rows))
        .drop("positives", "rows")
    )
