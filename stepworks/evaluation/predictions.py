"""Predictions: one row for each row that a model was asked about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from stepworks.data.columns import ROW_ID
from stepworks.data.tables import read_table, write_table
from stepworks.errors import EvaluationError

SCHEMA: dict[str, pl.DataType] = {ROW_ID: pl.UInt32(), "target": pl.Int8(), "probability": pl.Float64()}
"""The columns of predictions: the row, its outcome (0 or 1), and the predicted probability of 1."""

Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]


def check_predictions(predictions: pl.DataFrame, name: str) -> pl.DataFrame:
    """Check that metrics can be computed from predictions.

    Args:
        predictions: What to check.
        name: What an error message calls them, for example `the baseline's predictions`.

    Returns:
        The columns of `SCHEMA`, in that order.

    Raises:
        EvaluationError: A column is missing or of another type, there are no rows, a row is there twice, a value is
            missing, a probability is not a number from 0 to 1, or the target is not 0 and 1.
    """
    for column, kind in SCHEMA.items():
        found = predictions.schema.get(column)
        if found != kind:
            raise _not_usable(
                name, f"{column} is {'missing' if found is None else found}", f"a column {column} of type {kind}"
            )
    predictions = predictions.select(list(SCHEMA))
    if predictions.is_empty():
        raise _not_usable(name, "no rows", "at least one row of each class")
    missing = {column: count for column, count in predictions.null_count().row(0, named=True).items() if count}
    if missing:
        raise _not_usable(name, f"missing values: {missing}", "a value in every row and column")
    if predictions[ROW_ID].is_duplicated().any():
        twice = predictions.filter(pl.col(ROW_ID).is_duplicated())[ROW_ID]
        raise _not_usable(name, f"{ROW_ID} {twice[0]} more than once", "each row once")
    wrong = predictions.filter(~pl.col("probability").is_between(0.0, 1.0))
    if not wrong.is_empty():
        row_id, _, probability = wrong.row(0)
        raise _not_usable(
            name,
            f"{wrong.height} rows outside, the first with {ROW_ID} {row_id} and probability {probability}",
            "probabilities from 0 to 1, none of them NaN",
        )
    classes = sorted(predictions["target"].unique().to_list())
    if classes != [0, 1]:
        raise _not_usable(name, f"only the target {classes}", "rows of the two classes 0 and 1")
    return predictions


def read_predictions(path: Path) -> pl.DataFrame:
    """Read and check predictions.

    Raises:
        NotFoundError: There is no such file.
        DataError: The file is not a table.
        EvaluationError: See `check_predictions`.
    """
    return check_predictions(read_table(path), str(path))


def write_predictions(predictions: pl.DataFrame, path: Path) -> None:
    """Check predictions and write them as one Parquet file, in one piece.

    Raises:
        EvaluationError: See `check_predictions`.
        ResourceError: The disk is full or the path is not writable.
    """
    write_table(check_predictions(predictions, "The predictions"), path)


def outcomes_of(predictions: pl.DataFrame) -> tuple[Booleans, Floats]:
    """The targets and the probabilities of checked predictions, each of shape [rows]."""
    return predictions["target"].to_numpy() == 1, predictions["probability"].to_numpy()


def _not_usable(name: str, received: str, expected: str) -> EvaluationError:
    return EvaluationError(
        f"No metric can be computed from {name[0].lower() + name[1:]}",
        received=received,
        expected=expected,
        what_to_do="Look at the step that made the predictions, and at the rows that it was given.",
    )


def plain_floats(values: npt.NDArray[Any]) -> list[float]:
    """Python floats, for a document."""
    return [float(value) for value in values]
