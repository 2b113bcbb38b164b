from __future__ import annotations

import statistics
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stepworks.data.contract import TableContract
from stepworks.data.profile import BINS, UNIT_BINS, profile_table
from stepworks.errors import DataError
from stepworks.report.documents import ColumnProfile, ProfileDocument


@pytest.fixture
def profile(ingested: Path, flights_contract: TableContract) -> ProfileDocument:
    return profile_table(ingested, flights_contract, {"cancelled": 3})


def column(profile: ProfileDocument, name: str) -> ColumnProfile:
    return next(column for column in profile.columns if column.name == name)


def test_describes_every_column_and_the_target(
    profile: ProfileDocument, ingested: Path, flights_contract: TableContract
) -> None:
    table = pl.read_parquet(ingested)

    assert [column.name for column in profile.columns] == list(flights_contract.columns)
    assert profile.rows == table.height
    assert profile.dropped_rows == {"cancelled": 3}
    assert profile.target_rate == pytest.approx(table["late"].sum() / table.height)
    assert [period.period for period in profile.periods] == ["2013-01", "2013-02"]
    assert sum(period.rows for period in profile.periods) == table.height
    assert sum(period.rows * period.rate for period in profile.periods) == pytest.approx(table["late"].sum())


def test_describes_numbers(profile: ProfileDocument, ingested: Path) -> None:
    values = np.array([value for value in pl.read_parquet(ingested)["temp"] if value is not None])
    temp = column(profile, "temp")

    assert temp.histogram is not None
    assert len(temp.histogram.counts) == BINS
    assert len(temp.histogram.edges) == BINS + 1
    assert sum(temp.histogram.counts) + temp.nulls == profile.rows
    assert (
        (temp.histogram.edges[0], temp.histogram.edges[-1])
        == (temp.minimum, temp.maximum)
        == (min(values), max(values))
    )
    assert temp.mean == pytest.approx(sum(values) / len(values))
    assert temp.standard_deviation == pytest.approx(statistics.pstdev(values))
    assert temp.quantiles["0.5"] == pytest.approx(np.median(values))
    assert temp.distinct == len(set(values))


@pytest.mark.parametrize("greatest", [1, 12, UNIT_BINS, UNIT_BINS + 1])
def test_a_few_integers_get_a_bin_each(
    ingested: Path, flights_contract: TableContract, tmp_path: Path, greatest: int
) -> None:
    table = pl.read_parquet(ingested)
    months = pl.int_range(pl.len(), dtype=pl.Int64) % greatest + 1
    table.with_columns(month=months).write_parquet(tmp_path / "table.parquet")

    found = column(profile_table(tmp_path / "table.parquet", flights_contract, {}), "month")

    assert found.histogram is not None
    assert (found.minimum, found.maximum) == (1, greatest)
    if greatest > UNIT_BINS:
        assert len(found.histogram.counts) == BINS
        return
    assert found.histogram.edges == [month - 0.5 for month in range(1, greatest + 2)]
    assert found.histogram.counts == [
        table.with_columns(month=months).filter(pl.col("month") == month).height for month in range(1, greatest + 1)
    ]


def test_describes_texts_times_and_identifiers(profile: ProfileDocument, ingested: Path) -> None:
    table = pl.read_parquet(ingested)
    origin, time, key = (column(profile, name) for name in ("origin", "scheduled_departure", "flight_key"))

    assert {top.value: top.rows for top in origin.top_values} == {
        value: table.filter(pl.col("origin") == value).height for value in ("EWR", "JFK", "LGA")
    }
    assert [top.rows for top in origin.top_values] == sorted((top.rows for top in origin.top_values), reverse=True)
    assert time.minimum == table["scheduled_departure"].to_list()[0].isoformat()
    assert time.maximum == table["scheduled_departure"].to_list()[-1].isoformat()
    assert key.distinct == table.height
    assert key.top_values == []


def test_a_column_of_missing_values_has_no_figures(
    ingested: Path, flights_contract: TableContract, tmp_path: Path
) -> None:
    empty = pl.read_parquet(ingested).with_columns(temp=pl.lit(None, dtype=pl.Float64))
    empty.write_parquet(tmp_path / "table.parquet")

    temp = column(profile_table(tmp_path / "table.parquet", flights_contract, {}), "temp")

    assert temp.nulls == empty.height
    assert (temp.minimum, temp.mean, temp.histogram, temp.quantiles) == (None, None, None, {})


def test_a_table_without_time_has_no_periods(ingested: Path, flights_contract: TableContract) -> None:
    columns = flights_contract.model_dump()["columns"]
    columns["scheduled_departure"]["role"] = "slice"
    contract = TableContract.model_validate(flights_contract.model_dump() | {"columns": columns})

    assert profile_table(ingested, contract, {}).periods == []


def test_refuses_a_table_that_lacks_a_column(ingested: Path, flights_contract: TableContract, tmp_path: Path) -> None:
    pl.read_parquet(ingested).drop("temp").write_parquet(tmp_path / "table.parquet")

    with pytest.raises(DataError, match="not the expected table") as caught:
        profile_table(tmp_path / "table.parquet", flights_contract, {})
    assert "temp" in caught.value.received
    assert "\n" not in caught.value.received
