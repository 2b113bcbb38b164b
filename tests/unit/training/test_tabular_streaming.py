"""The rows of a table, streamed: they are those that are read into memory."""

from pathlib import Path

import polars as pl
import pytest
import torch

from stepworks.data.transform_parameters import TransformParameters
from stepworks.errors import DataError
from stepworks.training.tabular import read_rows, stream_rows


def test_streamed_rows_are_the_rows_that_are_read(features: Path, transform: TransformParameters) -> None:
    indices = torch.randperm(2000)[:300]
    (numeric, categorical), targets = stream_rows(features / "train", transform).take(indices)
    (expected_numeric, expected_categorical), expected_targets = read_rows(features / "train", transform).take(indices)
    for got, expected in (
        (numeric, expected_numeric),
        (categorical, expected_categorical),
        (targets, expected_targets),
    ):
        assert got.dtype == expected.dtype
        assert torch.equal(got, expected)


def test_a_table_without_categories_is_streamed(features: Path, transform: TransformParameters) -> None:
    numbers_only = transform.model_copy(update={"categorical": ()})
    (_, categorical), _ = stream_rows(features / "train", numbers_only).take(torch.arange(5))
    assert categorical.shape == (5, 0)
    assert categorical.dtype == torch.int64


def test_a_missing_value_is_told_by_its_column(features: Path, transform: TransformParameters, tmp_path: Path) -> None:
    table = pl.read_parquet(features / "train").with_columns(rain=pl.lit(None, pl.Float32))
    table.write_parquet(tmp_path / "features")
    samples = stream_rows(tmp_path / "features", transform)
    with pytest.raises(DataError, match=r"column rain of row group 0 of .*features has missing values"):
        samples.take(torch.arange(2))
