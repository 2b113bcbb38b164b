from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from stepworks.data.contract import TableContract
from stepworks.data.transform import apply_transform, encode_features, fit_transform
from stepworks.data.transform_parameters import FILE_NAME, TransformParameters
from stepworks.errors import DataError, NotFoundError

ROWS = pl.DataFrame(
    {
        "row_id": [0, 1, 2, 3, 4],
        "line": ["B", "A", "B", None, "C"],
        "stops": [7, 7, 7, 7, None],
        "heat": [10.0, None, 20.0, 60.0, float("nan")],
        "hot": [True, False, None, False, False],
        "express": [True, True, False, False, True],
        "late": [True, False, False, True, False],
    },
    schema_overrides={"row_id": pl.UInt32},
)


@pytest.fixture
def contract(trips: dict[str, Any]) -> TableContract:
    return TableContract.parse(yaml.safe_dump(trips, sort_keys=False))


@pytest.fixture
def train(tmp_path: Path) -> Path:
    ROWS.write_parquet(tmp_path / "train.parquet")
    return tmp_path / "train.parquet"


def test_learns_fills_scales_and_values(contract: TableContract, train: Path) -> None:
    parameters = fit_transform(train, contract, minimum_rows=1)

    stops, heat, hot, express = parameters.numeric
    filled = np.array([10, 20, 20, 60, 20], dtype=float)
    assert (heat.name, heat.fill, heat.mean) == ("heat", 20.0, 26.0)
    assert heat.standard_deviation == np.float32(filled.std())
    assert (stops.fill, stops.mean, stops.standard_deviation) == (7.0, 7.0, 1.0)
    assert (hot.fill, hot.mean) == (0.0, np.float32(0.2))
    assert express.mean == np.float32(0.6)
    assert parameters.categorical[0].values == ("B", "A", "C")
    assert parameters.target == "late"


def test_keeps_only_values_of_enough_rows(contract: TableContract, train: Path) -> None:
    assert fit_transform(train, contract, minimum_rows=2).categorical[0].values == ("B",)
    assert fit_transform(train, contract).categorical[0].values == ()


def test_a_number_that_is_always_missing_becomes_zero(contract: TableContract, train: Path) -> None:
    ROWS.with_columns(heat=pl.lit(None, dtype=pl.Float64)).write_parquet(train)

    parameters = fit_transform(train, contract)

    assert set(encode_features(pl.read_parquet(train), parameters)["heat"]) == {0.0}


def test_a_constant_is_not_scaled_by_rounding_noise(contract: TableContract, train: Path) -> None:
    ROWS.head(3).with_columns(heat=pl.lit(0.7)).write_parquet(train)
    assert np.full(3, 0.7).std() > 0

    heat = fit_transform(train, contract).numeric[1]

    assert heat.standard_deviation == 1.0


def test_writes_what_a_model_takes(contract: TableContract, train: Path, tmp_path: Path) -> None:
    parameters = fit_transform(train, contract, minimum_rows=1)
    other = ROWS.with_columns(line=pl.Series(["A", "Z", None, "C", "B"]))
    other.write_parquet(tmp_path / "other.parquet")

    rows = apply_transform(tmp_path / "other.parquet", parameters, tmp_path / "features.parquet")

    encoded = pl.read_parquet(tmp_path / "features.parquet")
    assert rows == encoded.height == 5
    assert encoded.schema == {
        "row_id": pl.UInt32,
        "stops": pl.Float32,
        "heat": pl.Float32,
        "hot": pl.Float32,
        "express": pl.Float32,
        "line": pl.Int64,
        "late": pl.Int8,
    }
    assert encoded["row_id"].to_list() == [0, 1, 2, 3, 4]
    assert encoded["line"].to_list() == [2, 0, 0, 3, 1]
    assert encoded["late"].to_list() == [1, 0, 0, 1, 0]


def test_arithmetic_is_float32_to_the_last_bit(ingested: Path, flights_contract: TableContract) -> None:
    parameters = fit_transform(ingested, flights_contract)
    table = pl.read_parquet(ingested)

    encoded = encode_features(table, parameters)

    for feature in parameters.numeric:
        raw = table[feature.name].cast(pl.Float64).to_numpy().astype(np.float32)
        filled = np.where(np.isnan(raw), np.float32(feature.fill), raw)
        expected = (filled - np.float32(feature.mean)) / np.float32(feature.standard_deviation)
        assert expected.dtype == np.float32
        assert np.array_equal(encoded[feature.name].to_numpy(), expected), feature.name
        assert float(np.float32(feature.mean)) == feature.mean


def test_parameters_survive_the_way_through_a_folder(contract: TableContract, train: Path, tmp_path: Path) -> None:
    parameters = fit_transform(train, contract, minimum_rows=1)

    parameters.write(tmp_path / "transform")

    assert TransformParameters.read(tmp_path / "transform") == parameters
    (tmp_path / "transform" / FILE_NAME).write_text('{"format": 2}')
    with pytest.raises(DataError, match="does not hold transform parameters"):
        TransformParameters.read(tmp_path / "transform")
    with pytest.raises(NotFoundError, match="no transform"):
        TransformParameters.read(tmp_path)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (pl.col("heat").cast(pl.String), "The feature heat"),
        (pl.lit(1).alias("line"), "The feature line"),
        (pl.lit(None, dtype=pl.Boolean).alias("late"), "The target late is missing"),
    ],
)
def test_refuses_rows_of_another_kind(
    contract: TableContract, train: Path, tmp_path: Path, change: pl.Expr, problem: str
) -> None:
    parameters = fit_transform(train, contract)
    ROWS.with_columns(change).write_parquet(tmp_path / "other.parquet")

    with pytest.raises(DataError, match=problem):
        apply_transform(tmp_path / "other.parquet", parameters, tmp_path / "features.parquet")

    assert not (tmp_path / "features.parquet").exists()


def test_refuses_to_learn_from_nothing(contract: TableContract, train: Path) -> None:
    ROWS.clear().write_parquet(train)

    with pytest.raises(DataError, match="no rows"):
        fit_transform(train, contract)
