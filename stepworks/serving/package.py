"""Making a package from a trained model."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import polars as pl

from stepworks.data.columns import ROW_ID
from stepworks.data.tables import read_table
from stepworks.data.transform import apply_transform
from stepworks.data.transform_parameters import TransformParameters
from stepworks.errors import DataError, ResourceError, ServingError
from stepworks.files import write_atomically
from stepworks.serving.graph import build_graph
from stepworks.serving.manifest import (
    MODEL_FILE,
    SAMPLES_FILE,
    InputTensor,
    Manifest,
    Samples,
    write_manifest,
)
from stepworks.training.model_directory import BUILT_IN_DATA, load_model, read_model_file
from stepworks.training.predict import predict

SAMPLE_ROWS = 100
_INCOMPLETE_ROWS = 20


def build_package(model_directory: Path, samples: Path, destination: Path, sample_rows: int = SAMPLE_ROWS) -> Manifest:
    """Package a trained model together with recorded samples.

    The recorded answers come from the trained model and the transform step's own code, not from the graph, so
    that a server which agrees with them agrees with training.

    Args:
        model_directory: A model's folder, as the train step writes it.
        samples: A raw table, as split_table writes it; the test part.
        destination: The package's folder; it appears whole, and replaces what was there.
        sample_rows: How many rows to record.

    Returns:
        The package's manifest.

    Raises:
        NotFoundError: There is no model, or no table of samples.
        DataError: The samples cannot be read, are empty, or lack a column.
        ServingError: The model has a data builder of its own, or the network cannot be exported.
        ResourceError: The disk is full or the destination is not writable.
    """
    _require_built_in_data(model_directory)
    parameters = TransformParameters.read(model_directory)
    graph = build_graph(load_model(model_directory), parameters)
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=destination.parent, prefix=f".{destination.name}-") as folder:
            package = Path(folder) / "package"
            write_atomically(package / MODEL_FILE, graph.SerializeToString(deterministic=True))
            recorded = record_samples(model_directory, samples, Path(folder), sample_rows)
            write_atomically(package / SAMPLES_FILE, recorded.model_dump_json(indent=1).encode() + b"\n")
            manifest = write_manifest(package, _signature(parameters))
            shutil.rmtree(destination, ignore_errors=True)
            package.rename(destination)
    except OSError as error:
        raise ResourceError(
            f"Cannot write the package {destination}",
            received=f"{type(error).__name__}: {error}",
            expected="a writable folder with free space",
            what_to_do="Free space, or correct the permission, and run again.",
        ) from error
    return manifest


def _require_built_in_data(model_directory: Path) -> None:
    """Refuse a model whose rows were made by a builder of its own: the graph would not do what that one did."""
    data = read_model_file(model_directory).data
    if data != BUILT_IN_DATA:
        raise ServingError(
            f"The model in {model_directory} cannot be packaged",
            received=f"the data builder {data}",
            expected=f"{BUILT_IN_DATA}, whose encoding of raw features the package's graph repeats",
            what_to_do="Train with the built-in data builder, or package and serve this model by a server of its own.",
        )


def record_samples(model_directory: Path, table: Path, scratch: Path, count: int) -> Samples:
    """Choose rows of a raw table, and let the trained model answer them offline.

    Args:
        model_directory: A model's folder.
        table: A raw table in parquet.
        scratch: A folder for intermediate tables.
        count: How many rows to choose; fewer if the table has fewer.

    Raises:
        DataError: The table cannot be read, is empty, or lacks a column.
    """
    parameters = TransformParameters.read(model_directory)
    names = [tensor.name for tensor in _signature(parameters)]
    chosen = choose_rows(read_table(table, [ROW_ID, *names, parameters.target]), names, count)
    if chosen.is_empty():
        raise DataError(
            f"Cannot record samples from {table}",
            received="no rows",
            expected="at least one row",
            what_to_do="Give the test part of a table that has rows.",
        )
    chosen.write_parquet(scratch / "samples.parquet")
    apply_transform(scratch / "samples.parquet", parameters, scratch / "features.parquet")
    answers = predict(model_directory, scratch / "features.parquet")
    return Samples(rows=_rows(chosen, parameters), probabilities=answers["probability"].to_list())


def choose_rows(table: pl.DataFrame, features: list[str], count: int) -> pl.DataFrame:
    """Rows spread evenly over a table, with some that lack a feature where there are any, in the table's order."""
    positions = table.select(incomplete=pl.any_horizontal(pl.col(features).is_null()), position=pl.int_range(pl.len()))
    incomplete = _spread(positions.filter(pl.col("incomplete"))["position"], min(_INCOMPLETE_ROWS, count // 2))
    complete = _spread(positions.filter(~pl.col("incomplete"))["position"], count - len(incomplete))
    return table[sorted([*incomplete, *complete])]


def _spread(positions: pl.Series, count: int) -> list[int]:
    if len(positions) <= count:
        return positions.to_list()
    return [positions[index * len(positions) // count] for index in range(count)]


def _rows(table: pl.DataFrame, parameters: TransformParameters) -> list[dict[str, float | int | str | None]]:
    numeric = [feature.name for feature in parameters.numeric]
    categorical = [feature.name for feature in parameters.categorical]
    # What a request can carry: a number is float32 in the tensor, and JSON has no NaN.
    return table.select(pl.col(numeric).cast(pl.Float64).fill_nan(None), pl.col(categorical).cast(pl.String)).to_dicts()


def _signature(parameters: TransformParameters) -> tuple[InputTensor, ...]:
    return (
        *(InputTensor(name=feature.name, datatype="FP32") for feature in parameters.numeric),
        *(InputTensor(name=feature.name, datatype="BYTES") for feature in parameters.categorical),
    )
