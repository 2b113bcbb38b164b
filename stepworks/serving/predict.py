"""Answers of a package to a whole table, without a server."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from stepworks.data.columns import ROW_ID
from stepworks.data.tables import read_table
from stepworks.serving.manifest import ONNXRUNTIME, read_package, require_format
from stepworks.serving.session import load_session
from stepworks.serving.tensors import tensor

ROWS_AT_ONCE = 65_536

_TYPES = {"FP32": pl.Float32, "BYTES": pl.String}


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
        ServingError: The package was changed, is of another format, or cannot be loaded.
        DataError: The table cannot be read, or lacks a column.
    """
    manifest = read_package(package)
    require_format(package, manifest, ONNXRUNTIME, "predict a table with")
    frame = read_table(table, [ROW_ID, *(each.name for each in manifest.inputs), target])
    raw = frame.select(pl.col(each.name).cast(_TYPES[each.datatype]) for each in manifest.inputs)
    session = load_session(package, threads=0)
    answers = [
        session.run(None, {each.name: tensor(part[each.name], each) for each in manifest.inputs})[0]
        for part in raw.iter_slices(ROWS_AT_ONCE)
    ]
    return pl.DataFrame(
        {
            ROW_ID: frame[ROW_ID].cast(pl.UInt32),
            "target": frame[target].cast(pl.Int8),
            "probability": np.concatenate(answers)[:, 0].astype(np.float64) if answers else np.empty(0),
        }
    )
