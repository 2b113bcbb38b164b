"""Turning features into the numbers that a model takes, with parameters learned from the training rows only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from stepworks.data.columns import ROW_ID
from stepworks.data.contract import TableContract
from stepworks.data.tables import read_table, write_table
from stepworks.data.transform_parameters import CategoricalFeature, NumericFeature, TransformParameters
from stepworks.errors import DataError


def fit_transform(train: Path, contract: TableContract, minimum_rows: int = 20) -> TransformParameters:
    """Learn how to encode the contract's features.

    A number is filled with the median, then scaled by the mean and the population standard deviation of the
    filled values. All three are rounded to float32, in which they are applied. A constant number is not scaled,
    and one that is always missing becomes zero. A text keeps the values of at least `minimum_rows` rows, the
    most frequent first.

    Args:
        train: The training rows, a Parquet file with the contract's columns.
        contract: Says which columns are features.
        minimum_rows: In how many rows a value of a text must occur to get a code of its own.

    Raises:
        NotFoundError: There is no such file.
        DataError: The file is not the table of the contract, or has no rows.
    """
    frame = read_table(train, [*contract.numeric_features, *contract.categorical_features])
    if frame.is_empty():
        raise DataError(
            "A transform cannot be fitted on no rows", received=f"{train} without rows", expected="training rows"
        )
    return TransformParameters(
        target=contract.target.name,
        numeric=tuple(_fit_number(frame[name]) for name in contract.numeric_features),
        categorical=tuple(_fit_text(frame[name], minimum_rows) for name in contract.categorical_features),
    )


def apply_transform(table: Path, parameters: TransformParameters, destination: Path) -> int:
    """Encode a table.

    Args:
        table: A Parquet file with `row_id`, the features and the target.
        parameters: What `fit_transform` learned.
        destination: The Parquet file to write: `row_id` (UInt32), the numbers (Float32), the codes of the texts
            (Int64, zero for missing or never seen), the target (Int8, zero or one).

    Returns:
        The number of rows.

    Raises:
        NotFoundError: There is no such file.
        DataError: A column is missing or of another kind, or the target is missing in a row.
        ResourceError: The destination cannot be written.
    """
    numbers = [feature.name for feature in parameters.numeric]
    texts = [feature.name for feature in parameters.categorical]
    frame = read_table(table, [ROW_ID, *numbers, *texts, parameters.target])
    encoded = encode_features(frame, parameters)
    target = frame[parameters.target]
    if target.has_nulls():
        raise DataError(
            f"The target {parameters.target} is missing",
            received=f"{target.null_count()} rows without it in {table}",
            expected="a target in every row",
            what_to_do="Drop these rows in the contract, or correct the data.",
        )
    write_table(encoded.insert_column(0, frame[ROW_ID]).with_columns(target.cast(pl.Int8)), destination)
    return frame.height


def encode_features(frame: pl.DataFrame, parameters: TransformParameters) -> pl.DataFrame:
    """Encode the features of rows in memory; the offline twin of a served model's first layer.

    Returns:
        One Float32 column a number and one Int64 column a text, in the parameters' order.

    Raises:
        DataError: A feature is of another kind than the one that was fitted.
    """
    for number in parameters.numeric:
        if not (frame.schema[number.name].is_numeric() or frame.schema[number.name] == pl.Boolean):
            raise _wrong_kind(frame, number.name, "a number or a boolean")
    for text in parameters.categorical:
        if frame.schema[text.name] != pl.String:
            raise _wrong_kind(frame, text.name, "a text")
    return pl.DataFrame(
        [
            *(_scale(frame[number.name], number) for number in parameters.numeric),
            *(_code(frame[text.name], text) for text in parameters.categorical),
        ]
    )


def _fit_number(series: pl.Series) -> NumericFeature:
    values = series.cast(pl.Float64).fill_nan(None)
    present = values.drop_nulls()
    fill = _float32(float(np.median(present.to_numpy()))) if present.len() else 0.0
    filled = values.fill_null(fill).to_numpy()
    deviation = _float32(filled.std())
    # Rounding in the mean gives a constant a deviation of almost zero, and a division by that gives noise.
    constant = filled.min() == filled.max() or deviation == 0.0
    return NumericFeature(
        name=series.name, fill=fill, mean=_float32(filled.mean()), standard_deviation=1.0 if constant else deviation
    )


def _fit_text(series: pl.Series, minimum_rows: int) -> CategoricalFeature:
    counts = series.drop_nulls().alias("value").value_counts(name="rows")
    kept = counts.filter(pl.col("rows") >= minimum_rows).sort("rows", "value", descending=[True, False])
    return CategoricalFeature(name=series.name, values=tuple(kept["value"]))


def _scale(series: pl.Series, feature: NumericFeature) -> pl.Series:
    filled = series.cast(pl.Float32).fill_nan(None).fill_null(feature.fill).to_numpy()
    # In numpy, because polars divides by multiplying with the reciprocal, which differs in the last bit.
    scaled = (filled - np.float32(feature.mean)) / np.float32(feature.standard_deviation)
    return pl.Series(feature.name, scaled, dtype=pl.Float32)


def _code(series: pl.Series, feature: CategoricalFeature) -> pl.Series:
    codes = {value: position for position, value in enumerate(feature.values, start=1)}
    return series.replace_strict(codes, default=0, return_dtype=pl.Int64)


def _float32(value: float) -> float:
    return float(np.float32(value))


def _wrong_kind(frame: pl.DataFrame, name: str, expected: str) -> DataError:
    return DataError(
        f"The feature {name} has another type than the one that was fitted",
        received=str(frame.schema[name]),
        expected=expected,
        what_to_do="Use rows of the same contract as the training rows.",
    )
