"""The metric on parts of the rows: where a model that is good on the whole is not."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import polars as pl

from stepworks.data.columns import ROW_ID
from stepworks.errors import EvaluationError
from stepworks.evaluation.delong import auc_interval
from stepworks.evaluation.predictions import outcomes_of
from stepworks.report.documents import Slice

MOST_VALUES = 16
MISSING = "(missing)"
OTHERS = "(others)"


def slices_of(
    predictions: pl.DataFrame,
    table: pl.DataFrame,
    columns: Sequence[str],
    confidence: float,
    most_values: int = MOST_VALUES,
) -> list[Slice]:
    """Compute the AUC for each value of each column.

    Texts are ordered by rows, numbers by value. A column with more than `most_values` values is cut: numbers into
    quarters of about equal rows, texts into the most frequent ones and the others. A slice with one class has no
    AUC. Intervals are DeLong's, as a bootstrap of every slice would take minutes.

    Args:
        predictions: Checked predictions.
        table: Holds `row_id` and the columns, for exactly the rows of the predictions.
        columns: The columns to cut by.
        confidence: The confidence of the intervals.
        most_values: The most slices of a column, those for other and for missing values not counted.

    Raises:
        EvaluationError: A column is missing, or the table has other rows than the predictions.
    """
    absent = [column for column in columns if column not in table.columns]
    if absent:
        raise EvaluationError(
            "The test table cannot be sliced",
            received=f"no column {', '.join(absent)}",
            expected=f"columns out of: {', '.join(table.columns)}",
            what_to_do="Correct the names of the slice columns.",
        )
    joined = predictions.join(table.select(ROW_ID, *columns), on=ROW_ID, how="inner")
    if not joined.height == predictions.height == table.height:
        raise EvaluationError(
            "The predictions and the test table are of different rows",
            received=f"{predictions.height} predictions, {table.height} rows, {joined.height} of them in both",
            expected="one prediction for each row of the table",
            what_to_do="Predict the table that is given, and give the table that was predicted.",
        )
    return [found for column in columns for found in _slices_of_column(joined, column, confidence, most_values)]


def _slices_of_column(rows: pl.DataFrame, column: str, confidence: float, most_values: int) -> list[Slice]:
    labels, order = _labels(rows[column], most_values)
    parts = rows.with_columns(labels.alias("label")).partition_by("label", as_dict=True)
    return [_slice(parts[(label,)], column, label, confidence) for label in order]


def _slice(rows: pl.DataFrame, column: str, label: str, confidence: float) -> Slice:
    positive, probability = outcomes_of(rows)
    rate = float(positive.mean())
    return Slice(
        column=column,
        value=label,
        rows=rows.height,
        target_rate=rate,
        auc=auc_interval(positive, probability, confidence) if 0 < rate < 1 else None,
    )


def _labels(values: pl.Series, most_values: int) -> tuple[pl.Series, list[str]]:
    """The label of each row's slice, and the labels in the order in which they are shown."""
    numeric = values.dtype.is_numeric()
    if values.dtype.is_float():
        values = values.fill_nan(None)
    known = values.drop_nulls()
    if numeric and known.n_unique() > most_values:
        labels, order = _quarters(values)
    else:
        labels = values.cast(pl.String)
        counts = known.value_counts(sort=True).sort("count", values.name, descending=[True, False])
        if numeric:
            counts = counts.sort(values.name)
        order = counts[values.name].cast(pl.String).to_list()
        if len(order) > most_values:
            order = order[:most_values]
            labels = labels.set(labels.is_not_null() & ~labels.is_in(order), OTHERS)
            order.append(OTHERS)
    if labels.null_count():
        order.append(MISSING)
    return labels.fill_null(MISSING), order


def _quarters(values: pl.Series) -> tuple[pl.Series, list[str]]:
    known = values.is_not_null().to_numpy()
    numbers = values.drop_nulls().cast(pl.Float64).to_numpy()
    highest = numbers.max()
    edges = np.unique(np.quantile(numbers, [0.25, 0.5, 0.75], method="lower"))
    edges = edges[edges < highest]
    if not edges.size:  # More than three quarters of the rows have the highest value.
        edges = np.array([numbers[numbers < highest].max()])
    bounds = [f"{edge:.6g}" for edge in edges]
    between = [f"above {low} to {high}" for low, high in pairwise(bounds)]
    order = [f"up to {bounds[0]}", *between, f"above {bounds[-1]}"]
    labels = np.full(len(values), None, dtype=object)
    labels[known] = np.array(order, dtype=object)[np.searchsorted(edges, numbers)]
    return pl.Series(labels, dtype=pl.String), order
