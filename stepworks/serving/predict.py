"""Answers of a package offline, without a server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from stepworks.data.tables import read_table
from stepworks.errors import ServingError
from stepworks.serving.manifest import MODEL_FILE, InputTensor, Manifest, Row, read_package

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


def predict_rows(package: Path, rows: Sequence[Row]) -> list[float]:
    """Predict raw rows in memory.

    Raises:
        NotFoundError: There is no package.
        ServingError: The package was changed or cannot be loaded, or a row does not fit it.
    """
    manifest = read_package(package)
    answers = load_session(package).run(None, tensors(manifest, rows))[0]
    return [float(value) for value in answers[:, 0]]


def tensors(manifest: Manifest, rows: Sequence[Row]) -> dict[str, npt.NDArray[Any]]:
    """The graph's inputs for raw rows: [rows, 1] float32 with NaN for missing, or texts with "" for missing.

    Raises:
        ServingError: A row lacks a column, or has a value of the wrong type.
    """
    try:
        return {
            tensor.name: np.array(
                [[_plain(row[tensor.name], tensor)] for row in rows],
                dtype=np.float32 if tensor.datatype == "FP32" else np.object_,
            )
            for tensor in manifest.inputs
        }
    except (KeyError, ValueError, TypeError) as error:
        raise ServingError(
            "A row does not fit the model's signature",
            received=f"{type(error).__name__}: {error}",
            expected=", ".join(f"{tensor.name} ({tensor.datatype})" for tensor in manifest.inputs),
            what_to_do="Give every column in every row; None stands for missing.",
        ) from error


def load_session(package: Path, threads: int = 1) -> Any:
    """An ONNX Runtime session over the package's graph, on the CPU.

    Args:
        package: A verified package's folder.
        threads: How many threads one request may use; 0 lets ONNX Runtime choose.

    Raises:
        ServingError: The graph cannot be loaded.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(
            str(package / MODEL_FILE), sess_options=options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        raise ServingError(
            f"The model of the package {package} cannot be loaded",
            received=str(error),
            expected=f"an ONNX graph that ONNX Runtime {onnxruntime.__version__} can run",
            what_to_do="Package the model again with this version of the library.",
        ) from error


def _plain(value: float | str | None, tensor: InputTensor) -> float | str:
    if tensor.datatype == "FP32":
        if isinstance(value, str):
            raise TypeError(f"{tensor.name} is a text: {value!r}")
        return float("nan") if value is None else float(value)
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{tensor.name} is not a text: {value!r}")
    return value or ""


def _column(values: pl.Series, tensor: InputTensor) -> npt.NDArray[Any]:
    if tensor.datatype == "FP32":
        return values.cast(pl.Float32).fill_null(float("nan")).to_numpy().reshape(-1, 1)
    return np.array(values.cast(pl.String).fill_null("").to_list(), dtype=np.object_).reshape(-1, 1)
