"""Predictions of a small model, and the real flights of a year."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.flights import flights_csv


def predictions_frame(rows: int, seed: int, *, signal: float = 1.0) -> pl.DataFrame:
    """Calibrated predictions: an outcome happens as often as predicted."""
    random = np.random.default_rng(seed)
    probability = 1 / (1 + np.exp(-(signal * random.normal(size=rows) - 1)))
    return pl.DataFrame(
        {
            "row_id": np.arange(rows, dtype="uint32"),
            "target": (random.random(rows) < probability).astype("int8"),
            "probability": probability,
        }
    )


@pytest.fixture
def predictions() -> pl.DataFrame:
    return predictions_frame(3000, seed=3)


@pytest.fixture(scope="session")
def flights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train.parquet (January to September) and test.parquet (November, December) of 2013."""
    columns = ["month", "sched_dep_time", "carrier", "origin", "dest", "arr_delay"]
    table = (
        pl.read_csv(flights_csv(), columns=columns, null_values="NA", infer_schema_length=None)
        .drop_nulls("arr_delay")
        .with_columns(late=pl.col("arr_delay") > 15)
        .with_row_index("row_id")
    )
    folder = tmp_path_factory.mktemp("flights")
    table.filter(pl.col("month") <= 9).write_parquet(folder / "train.parquet")
    table.filter(pl.col("month") >= 11).write_parquet(folder / "test.parquet")
    return folder
