from __future__ import annotations

from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from stepworks.data.contract import TableContract
from stepworks.data.split import split_by_time
from stepworks.errors import DataError, ParameterError
from stepworks.report.documents import SplitDocument

NAMES = ("train", "validation", "test")


def split(table: Path, contract: TableContract, validation_from: str, test_from: str, folder: Path) -> SplitDocument:
    paths = {name: folder / f"{name}.parquet" for name in NAMES}
    return split_by_time(table, contract, validation_from, test_from, **paths)


def test_every_row_goes_to_one_part(ingested: Path, flights_contract: TableContract, tmp_path: Path) -> None:
    document = split(ingested, flights_contract, "2013-02-15", "2013-02-16T12:00", tmp_path)

    whole = pl.read_parquet(ingested)
    parts = [pl.read_parquet(tmp_path / f"{name}.parquet") for name in NAMES]
    assert pl.concat(parts).equals(whole)
    assert document.method == "time"
    assert document.column == "scheduled_departure"
    for name, part, rows in zip(NAMES, document.parts, parts, strict=True):
        assert (part.name, part.rows) == (name, rows.height)
        assert part.first == rows["scheduled_departure"].to_list()[0].isoformat()
        assert part.last == rows["scheduled_departure"].to_list()[-1].isoformat()
        assert part.target_rate == pytest.approx(rows["late"].sum() / rows.height)


def test_a_bound_belongs_to_the_later_part(ingested: Path, flights_contract: TableContract, tmp_path: Path) -> None:
    moments = pl.read_parquet(ingested)["scheduled_departure"]
    validation_from, test_from = moments[2000], moments[4000]

    split(ingested, flights_contract, validation_from.isoformat(), test_from.isoformat(), tmp_path)

    train, validation, test = (pl.read_parquet(tmp_path / f"{name}.parquet")["scheduled_departure"] for name in NAMES)
    assert train.max() < validation_from == validation.min()
    assert validation.max() < test_from == test.min()


@pytest.mark.parametrize(
    ("validation_from", "test_from", "named"),
    [
        ("tomorrow", "2013-02-16", "validation_from"),
        ("2013-02-15", "", "test_from"),
        ("2013-02-15T00:00:00Z", "2013-02-16", "validation_from"),
        ("2013-02-16", "2013-02-16", "no room for validation"),
        ("2013-02-17", "2013-02-16", "no room for validation"),
    ],
)
def test_refuses_bounds_that_are_no_moments_or_out_of_order(
    ingested: Path, flights_contract: TableContract, tmp_path: Path, validation_from: str, test_from: str, named: str
) -> None:
    with pytest.raises(ParameterError, match=named):
        split(ingested, flights_contract, validation_from, test_from, tmp_path)


@pytest.mark.parametrize(
    ("validation_from", "test_from", "part"),
    [
        ("2012-01-01", "2013-02-15", "train"),
        ("2013-01-20", "2013-02-01", "validation"),
        ("2013-02-15", "2014-01-01", "test"),
    ],
)
def test_refuses_an_empty_part_and_writes_nothing(
    ingested: Path, flights_contract: TableContract, tmp_path: Path, validation_from: str, test_from: str, part: str
) -> None:
    with pytest.raises(DataError) as caught:
        split(ingested, flights_contract, validation_from, test_from, tmp_path)

    assert caught.value.problem == f"The {part} part of the split cannot be used"
    assert "2013-01-15T" in caught.value.received
    assert list(tmp_path.iterdir()) == []


def test_refuses_a_part_with_one_class(ingested: Path, flights_contract: TableContract, tmp_path: Path) -> None:
    in_test = pl.col("scheduled_departure") >= datetime(2013, 2, 16)
    pl.read_parquet(ingested).with_columns(late=pl.col("late") & ~in_test).write_parquet(tmp_path / "table.parquet")

    with pytest.raises(DataError) as caught:
        split(tmp_path / "table.parquet", flights_contract, "2013-02-15", "2013-02-16", tmp_path)

    assert "1 of the two classes of late" in caught.value.received


def test_refuses_rows_without_time(ingested: Path, flights_contract: TableContract, tmp_path: Path) -> None:
    pl.read_parquet(ingested).with_columns(
        scheduled_departure=pl.when(pl.col("row_id") > 1).then("scheduled_departure")
    ).write_parquet(tmp_path / "table.parquet")

    with pytest.raises(DataError) as caught:
        split(tmp_path / "table.parquet", flights_contract, "2013-02-15", "2013-02-16", tmp_path)

    assert caught.value.received == "2 rows without scheduled_departure"
