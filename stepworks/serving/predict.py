"""Answers of a package to a whole table, without a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from stepworks.data.tables import read_table
from stepworks.serving.manifest import InputTensor, read_package
from stepworks.serving.session import load_session

ROWS_AT_ONCE = 65_536


def predict_package(package: Path, table: Path, target: str) -> pl.DataFrame:
    """Predict every row of a raw table.

    Args:
        package: A package's folder.
        table: A parquet file with `row_id`, the raw feature columns and the target.
        target: The target's column.

    Returns:
        A frame of `row_id` (UInt32), `target` (Int8) and `probability` (Float64), in the table's order.

    Raises:
        NotFoundError: There is no package, or no table.
        ServingError: The package was changed or cannot be loaded.
        DataError: The table cannot be read, or lacks a column.
    """
    manifest = read_package(package)
    frame = read_table(table, ["row_id", *(tensor.name for tensor in manifest.inputs), target])
    session = load_session(package, threads=0)
    answers = [
        session.run(None, {tensor.name: _column(part[tensor.name], tensor) for tensor in manifest.inputs})[0]
        for part in frame.iter_slices(ROWS_AT_ONCE)
    ]
    return pl.DataFrame(
        {
            "row_id": frame["row_id"].cast(pl.UInt32),
            "target": frame[target].cast(pl.Int8),
            "probability": np.concatenate(answers)[:, 0].astype(np.float64) if answers else np.empty(0),
        }
    )


def _column(values: pl.Series, tensor: InputTensor) -> npt.NDArray[Any]:
    if tensor.datatype == "FP32":
        return values.cast(pl.Float32).fill_null(float("nan")).to_numpy().reshape(-1, 1)
    return np.array(values.cast(pl.String).fill_null("").to_list(), dtype=np.object_).reshape(-1, 1)
