"""What a trained model is made of, as far as a package needs to know: its kind, its signature, recorded answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl
import torch

from stepworks.data.columns import ROW_ID
from stepworks.data.tables import read_table
from stepworks.data.transform import apply_transform
from stepworks.data.transform_parameters import TransformParameters
from stepworks.errors import DataError, ServingError
from stepworks.reference import build
from stepworks.serving.manifest import InputTensor, OutputTensor, Samples
from stepworks.training.data.samples import Samples as TrainingSamples
from stepworks.training.images import class_names
from stepworks.training.model_directory import BUILT_IN_DATA, load_model, read_model_file
from stepworks.training.predict import predict

Kind = Literal["table", "images", "texts"]

_KINDS: dict[str, Kind] = {
    BUILT_IN_DATA: "table",
    "stepworks.training.images:read_images": "images",
    "stepworks.training.language_model:read_tokens": "texts",
}
"""What a model takes, by the data builder that it was trained with."""

IMAGES = "images"
LOGITS = "logits"
_INCOMPLETE_ROWS = 20
_IMAGE_ROWS = 10
"""An image is as long as some ten thousand raw rows, so that few are recorded."""


@dataclass(frozen=True)
class Source:
    """A model that is to be packaged.

    Attributes:
        directory: Its folder, as the train step writes it.
        kind: What it takes.
        inputs: Its inputs, in the network's order; of a table's model, the raw columns.
        output: Its answer.
    """

    directory: Path
    kind: Kind
    inputs: tuple[InputTensor, ...]
    output: OutputTensor

    def network(self) -> torch.nn.Module:
        """The network, in evaluation mode on the CPU."""
        return load_model(self.directory)

    def record(self, samples: Path, scratch: Path, count: int) -> Samples:
        """Choose rows of a table or images, and let the model answer them offline.

        Args:
            samples: A raw table in Parquet; or images, as the model's data builder reads them.
            scratch: A folder for intermediate tables.
            count: How many to choose; fewer if there are fewer.

        Raises:
            NotFoundError: There is no such file or folder.
            DataError: It cannot be read, is empty, or lacks a column.
        """
        if self.kind == "images":
            return _record_images(self, samples, min(count, _IMAGE_ROWS))
        return record_samples(self.directory, samples, scratch, count)


def read_kind(model_directory: Path) -> Kind:
    """What a model takes.

    Raises:
        NotFoundError: The folder holds no model.
        TrainingError: Its description cannot be read.
        ServingError: Its rows were made by a builder of its own, which no package could repeat.
    """
    data = read_model_file(model_directory).data
    if data not in _KINDS:
        raise ServingError(
            f"The model in {model_directory} cannot be packaged",
            received=f"the data builder {data}",
            expected=f"{' or '.join(_KINDS)}, whose encoding of inputs a package repeats",
            what_to_do="Train with a built-in data builder, or package and serve this model by a server of its own.",
        )
    return _KINDS[data]


def read_source(model_directory: Path) -> Source:
    """Read what a model of a table or of images takes and answers.

    Raises:
        NotFoundError: The folder holds no model.
        TrainingError: Its description cannot be read.
        ServingError: Its rows were made by a builder of its own.
    """
    kind = read_kind(model_directory)
    if kind == "images":
        settings = read_model_file(model_directory).data_settings
        size = int(settings.get("image_size", 224))
        classes = len(class_names(settings["classes"]))
        return Source(
            model_directory,
            kind,
            (InputTensor(name=IMAGES, datatype="UINT8", shape=(3, size, size)),),
            OutputTensor(name=LOGITS, shape=(classes,)),
        )
    return Source(model_directory, kind, signature(TransformParameters.read(model_directory)), OutputTensor())


def signature(parameters: TransformParameters) -> tuple[InputTensor, ...]:
    """The raw columns of a table's model, in its order."""
    return (
        *(InputTensor(name=feature.name, datatype="FP32") for feature in parameters.numeric),
        *(InputTensor(name=feature.name, datatype="BYTES") for feature in parameters.categorical),
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
    names = [tensor.name for tensor in signature(parameters)]
    chosen = choose_rows(read_table(table, [ROW_ID, *names, parameters.target]), names, count)
    if chosen.is_empty():
        raise nothing_to_record(table)
    chosen.write_parquet(scratch / "samples.parquet")
    apply_transform(scratch / "samples.parquet", parameters, scratch / "features.parquet")
    answers = predict(model_directory, scratch / "features.parquet")
    return Samples(rows=_rows(chosen, parameters), answers=answers["probability"].to_list())


def nothing_to_record(table: Path) -> DataError:
    """The error of a table without rows."""
    return DataError(
        f"Cannot record samples from {table}",
        received="no rows",
        expected="at least one row",
        what_to_do="Give the test part of a table that has rows.",
    )


def choose_rows(table: pl.DataFrame, features: list[str], count: int) -> pl.DataFrame:
    """Rows spread evenly over a table, with some that lack a feature where there are any, in the table's order."""
    positions = table.select(incomplete=pl.any_horizontal(pl.col(features).is_null()), position=pl.int_range(pl.len()))
    incomplete = spread(positions.filter(pl.col("incomplete"))["position"], min(_INCOMPLETE_ROWS, count // 2))
    complete = spread(positions.filter(~pl.col("incomplete"))["position"], count - len(incomplete))
    return table[sorted([*incomplete, *complete])]


def spread(positions: pl.Series, count: int) -> list[int]:
    """Some of the positions, spread evenly over them; all, where there are no more than `count`."""
    if len(positions) <= count:
        return positions.to_list()
    return [positions[index * len(positions) // count] for index in range(count)]


def _rows(table: pl.DataFrame, parameters: TransformParameters) -> list[dict[str, Any]]:
    numeric = [feature.name for feature in parameters.numeric]
    categorical = [feature.name for feature in parameters.categorical]
    # What a request can carry: a number is float32 in the tensor, and JSON has no NaN.
    return table.select(pl.col(numeric).cast(pl.Float64).fill_nan(None), pl.col(categorical).cast(pl.String)).to_dicts()


def _record_images(source: Source, path: Path, count: int) -> Samples:
    description = read_model_file(source.directory)
    images: TrainingSamples = build(description.data, path, role="data", settings=description.data_settings)
    chosen = spread(pl.arange(len(images), eager=True), count)
    (pixels,), _ = images.take(torch.tensor(chosen))
    with torch.inference_mode():
        answers = source.network()(pixels)
    return Samples(rows=[{IMAGES: each} for each in pixels.tolist()], answers=answers.tolist())
