"""A small encoded table with a signal in it, and its transform."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stepworks.data.transform_parameters import CategoricalFeature, NumericFeature, TransformParameters


@pytest.fixture(scope="session")
def transform() -> TransformParameters:
    return TransformParameters(
        target="late",
        numeric=(
            NumericFeature(name="wind", fill=0.0, mean=0.0, standard_deviation=1.0),
            NumericFeature(name="rain", fill=0.0, mean=0.0, standard_deviation=1.0),
        ),
        categorical=(CategoricalFeature(name="carrier", values=("AA", "B6", "UA")),),
    )


def write_features(path: Path, *, rows: int, seed: int) -> Path:
    """Rows whose target depends on both numbers and on the carrier."""
    random = np.random.default_rng(seed)
    wind, rain = random.normal(size=(2, rows)).astype("float32")
    carrier = random.integers(0, 4, size=rows)
    chance = 1 / (1 + np.exp(-(wind + 0.5 * rain + (carrier == 2) - 0.5)))
    pl.DataFrame(
        {
            "row_id": np.arange(rows, dtype="uint32"),
            "wind": wind,
            "rain": rain,
            "carrier": carrier,
            "late": (random.random(rows) < chance).astype("int8"),
        }
    ).write_parquet(path)
    return path


@pytest.fixture(scope="session")
def features(tmp_path_factory: pytest.TempPathFactory, transform: TransformParameters) -> Path:
    """A folder with train, validation and the transform."""
    folder = tmp_path_factory.mktemp("features")
    write_features(folder / "train", rows=2000, seed=1)
    write_features(folder / "validation", rows=1000, seed=2)
    transform.write(folder)
    return folder
