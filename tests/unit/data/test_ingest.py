from __future__ import annotations

import resource
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from stepworks.data.contract import TableContract
from stepworks.data.ingest import ingest_table
from stepworks.errors import ConfigurationError, DataError, ResourceError


def parse(content: dict[str, Any]) -> TableContract:
    return TableContract.parse(yaml.safe_dump(content, sort_keys=False))


def test_makes_the_table_that_the_contract_describes(trips: dict[str, Any], trips_source: Path, tmp_path: Path) -> None:
    result = ingest_table(str(trips_source), parse(trips), tmp_path / "table.parquet")

    table = pl.read_parquet(tmp_path / "table.parquet")
    expected = pl.DataFrame(
        {
            "row_id": [0, 1, 2, 3],
            "planned": [
                datetime(2024, 5, 1, 8),
                datetime(2024, 5, 1, 9),
                datetime(2024, 5, 2, 8),
                datetime(2024, 5, 2, 9),
            ],
            "trip": [1, 2, 4, 5],
            "line": ["A", "A", "B", "C"],
            "stops": [12, 12, 7, None],
            "heat": [31.5, None, None, 12.0],
            "hot": [True, None, None, False],
            "express": [False, True, True, False],
            "late": [False, True, True, False],
        },
        schema_overrides={"row_id": pl.UInt32},
    )
    assert table.schema == expected.schema
    assert table.equals(expected)
    assert result.rows == 4
    assert result.dropped_rows == {"cancelled": 1}


def test_joins_each_flight_with_its_own_weather_and_plane(ingested: Path, raw_tables: dict[str, pl.DataFrame]) -> None:
    table = pl.read_parquet(ingested)
    flights = {
        (row["carrier"] + row["flight"], row["origin"], row["month"], row["day"]): row
        for row in raw_tables["flights"].iter_rows(named=True)
    }
    weather = {(row["origin"], row["time_hour"]): row for row in raw_tables["weather"].iter_rows(named=True)}
    planes = {row["tailnum"]: row for row in raw_tables["planes"].iter_rows(named=True)}
    assert table.height > 4000

    for row in table.sample(200, seed=1).iter_rows(named=True):
        planned = row["scheduled_departure"]
        flight = flights[row["flight_key"].split()[0], row["origin"], str(planned.month), str(planned.day)]
        hour = weather.get((flight["origin"], flight["time_hour"]))
        plane = planes.get(flight["tailnum"])
        assert int(flight["hour"]) == planned.hour
        assert int(flight["minute"]) == planned.minute
        assert row["day_of_week"] == str(planned.isoweekday())
        assert row["late"] == (int(flight["arr_delay"]) > 15)
        assert row["temp"] == (float(hour["temp"]) if hour else None)
        assert row["seats"] == (int(plane["seats"]) if plane else None)


def test_counts_departures_of_the_schedule_and_the_rain_of_the_last_hours(
    ingested: Path, raw_tables: dict[str, pl.DataFrame]
) -> None:
    flights = raw_tables["flights"].filter(pl.col("origin") == "EWR", pl.col("month") == "1", pl.col("day") == "16")
    weather = raw_tables["weather"].filter(pl.col("origin") == "EWR").sort("time_hour")
    rain = weather["precip"].cast(pl.Float64).to_list()
    hours = list(zip(weather["month"], weather["day"], weather["hour"], strict=True))
    last = hours.index(("1", "16", "10"))

    rows = pl.read_parquet(ingested).filter(
        pl.col("origin") == "EWR", pl.col("scheduled_departure").dt.date() == datetime(2013, 1, 16).date()
    )
    ten = rows.filter(pl.col("scheduled_departure").dt.hour() == 10)

    assert rows.height < flights.height
    assert set(rows["departures_day"]) == {flights.height}
    assert set(ten["departures_hour"]) == {flights.filter(pl.col("hour") == "10").height}
    assert sum(rain[last - 3 : last + 1]) > 0
    assert ten["rain_4h"].unique().to_list() == [pytest.approx(sum(rain[last - 3 : last + 1]))]
    assert ten["rain_12h"].unique().to_list() == [pytest.approx(sum(rain[last - 11 : last + 1]))]


def test_counts_dropped_flights_by_kind(
    source: Path, raw_tables: dict[str, pl.DataFrame], flights_contract: TableContract, tmp_path: Path
) -> None:
    flights = raw_tables["flights"]
    cancelled = flights.filter(pl.col("dep_time") == "NA").height
    without_arrival = flights.filter(pl.col("arr_delay") == "NA").height

    result = ingest_table(str(source), flights_contract, tmp_path / "table.parquet")

    assert result.dropped_rows == {"cancelled": cancelled, "diverted": without_arrival - cancelled}
    assert 0 < cancelled < without_arrival
    assert result.rows == flights.height - without_arrival


def test_the_same_rows_give_the_same_bytes_and_other_files_another_digest(
    source: Path, raw_tables: dict[str, pl.DataFrame], flights_contract: TableContract, tmp_path: Path
) -> None:
    first = ingest_table(str(source), flights_contract, tmp_path / "first.parquet")
    again = ingest_table(str(source), flights_contract, tmp_path / "again.parquet")
    raw_tables["flights"].sample(fraction=1.0, shuffle=True, seed=3).write_csv(source / "flights.csv")
    shuffled = ingest_table(str(source), flights_contract, tmp_path / "shuffled.parquet")

    assert (tmp_path / "first.parquet").read_bytes() == (tmp_path / "again.parquet").read_bytes()
    assert (tmp_path / "first.parquet").read_bytes() == (tmp_path / "shuffled.parquet").read_bytes()
    assert first == again
    assert shuffled.digest != first.digest


def test_an_inner_join_counts_the_rows_that_it_drops(trips: dict[str, Any], trips_source: Path, tmp_path: Path) -> None:
    trips["joins"][0]["how"] = "inner"

    result = ingest_table(str(trips_source), parse(trips), tmp_path / "table.parquet")

    assert result.rows == 3
    assert result.dropped_rows == {"without_lines": 2, "cancelled": 0}


def test_keeps_the_order_of_the_file_where_nothing_orders_rows(
    trips: dict[str, Any], trips_source: Path, tmp_path: Path
) -> None:
    trips["columns"]["planned"]["role"] = "slice"
    trips["columns"]["trip"]["role"] = "slice"

    ingest_table(str(trips_source), parse(trips), tmp_path / "table.parquet")

    assert pl.read_parquet(tmp_path / "table.parquet")["trip"].to_list() == [4, 1, 2, 5]


def test_refuses_a_join_that_would_multiply_rows(trips: dict[str, Any], trips_source: Path, tmp_path: Path) -> None:
    (trips_source / "lines.csv").write_text("line,stops\nA,12\nB,7\nA,13\n")

    with pytest.raises(DataError) as caught:
        ingest_table(str(trips_source), parse(trips), tmp_path / "table.parquet")

    assert caught.value.problem == "The join with lines would multiply rows"
    assert "{'line': 'A'}" in caught.value.received
    assert not (tmp_path / "table.parquet").exists()


def test_refuses_keys_of_different_types(trips: dict[str, Any], trips_source: Path, tmp_path: Path) -> None:
    trips["joins"][0]["keys"] = {"line": "stops"}
    trips["joins"][0]["take"] = ["stops"]

    with pytest.raises(ConfigurationError, match="join with lines does not fit"):
        ingest_table(str(trips_source), parse(trips), tmp_path / "table.parquet")


@pytest.mark.parametrize(
    ("name", "expression"),
    [("trip", "heat"), ("heat", "line"), ("line", "trip"), ("express", "trip"), ("planned", "line")],
)
def test_refuses_an_expression_of_another_type_than_declared(
    trips: dict[str, Any], trips_source: Path, tmp_path: Path, name: str, expression: str
) -> None:
    trips["derive"]["derived"] = expression
    trips["columns"] = {"derived": trips["columns"].pop(name) | {"role": "slice", "allowed": None}} | trips["columns"]

    with pytest.raises(ConfigurationError) as caught:
        ingest_table(str(trips_source), parse(trips), tmp_path / "table.parquet")

    assert caught.value.problem == "The data contract is wrong at columns.derived.type"


def test_refuses_a_drop_rule_that_is_no_condition(trips: dict[str, Any], trips_source: Path, tmp_path: Path) -> None:
    trips["drop_rows"][0]["where"] = "delay + 1"

    with pytest.raises(ConfigurationError, match=r"drop_rows\.cancelled"):
        ingest_table(str(trips_source), parse(trips), tmp_path / "table.parquet")


def test_names_an_expression_that_fails_on_a_value(trips: dict[str, Any], trips_source: Path, tmp_path: Path) -> None:
    trips["derive"]["started"] = "STRPTIME(line, '%Y-%m-%d')"

    with pytest.raises(DataError, match=r"derive\.started cannot be computed"):
        ingest_table(str(trips_source), parse(trips), tmp_path / "table.parquet")


def test_refuses_a_table_of_which_every_row_is_dropped(
    trips: dict[str, Any], trips_source: Path, tmp_path: Path
) -> None:
    trips["drop_rows"].append({"name": "all_others", "where": "trip > 0"})

    with pytest.raises(DataError) as caught:
        ingest_table(str(trips_source), parse(trips), tmp_path / "table.parquet")

    assert caught.value.received == "dropped rows: {'cancelled': 1, 'all_others': 4}"


def test_a_full_disk_leaves_nothing_behind(source: Path, flights_contract: TableContract, tmp_path: Path) -> None:
    destination = tmp_path / "out" / "table.parquet"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(ResourceError, match="Cannot write"):
            ingest_table(str(source), flights_contract, destination)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert list(destination.parent.iterdir()) == []
