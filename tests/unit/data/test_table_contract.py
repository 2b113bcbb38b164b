from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from stepworks.data.contract import TableContract
from stepworks.errors import ConfigurationError, NotFoundError

Content = dict[str, Any]


def parse(content: Content) -> TableContract:
    return TableContract.parse(yaml.safe_dump(content, sort_keys=False))


def put(path: str, value: Any) -> Callable[[Content], None]:
    """Set one field, named by its path with dots."""

    def change(content: Content) -> None:
        *parents, last = path.split(".")
        place: Any = content
        for name in parents:
            place = place[int(name)] if isinstance(place, list) else place[name]
        place[last] = value

    return change


def test_reads_roles_types_and_names(trips: Content) -> None:
    contract = parse(trips)

    assert contract.numeric_features == ("stops", "heat", "hot", "express")
    assert contract.categorical_features == ("line",)
    assert contract.time_column == "planned"
    assert contract.with_role("identifier") == ("trip",)
    assert contract.joins[0].keys == {"line": "line"}
    assert contract.tables["trips"].types["heat"] == "number"
    assert contract.columns["stops"].known_at == "prediction"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (put("colour", "blue"), "colour"),
        (put("tables.trips.columns.integers", ["trip"]), "tables.trips.columns.integers"),
        (put("columns.heat.role", "feather"), "columns.heat.role"),
        (put("columns.heat.known_at", "breakfast"), "columns.heat.known_at"),
        (put("columns.row_id", {"type": "integer"}), "columns.row_id"),
        (put("columns.nowhere", {"type": "integer"}), "columns.nowhere"),
        (put("columns.planned.role", "feature"), "columns.planned.type"),
        (put("columns.planned.type", "text"), "columns.planned.type"),
        (put("columns.late.type", "integer"), "columns.late.type"),
        (put("columns.late.role", "slice"), "columns"),
        (put("columns.line.minimum", 1), "columns.line"),
        (put("columns.stops.minimum", 51), "columns.stops"),
        (put("columns.heat.allowed", ["1"]), "columns.heat.allowed"),
        (put("base", "buses"), "base"),
        (put("joins.0.table", "buses"), "joins.0.table"),
        (put("joins.0.keys", ["station"]), "joins.0.keys"),
        (put("joins.0.keys", {"line": "station"}), "joins.0.keys"),
        (put("joins.0.keys", []), "joins.0.keys"),
        (put("joins.0.take", ["seats"]), "joins.0.take"),
        (put("joins.0.take", {"heat": "stops"}), "joins.0.take.heat"),
        (put("joins.0.how", "outer"), "joins.0.how"),
        (put("derive.hot", "heat >"), "derive.hot"),
        (put("derive.hot", "warmth > 30"), "derive.hot"),
        (put("derive.heat", "stops"), "derive.heat"),
        (put("drop_rows.0.where", "gone"), "drop_rows.0.where"),
        (put("target.expression", "delays > 5"), "target.late"),
        (put("tables.trips.outcome", ["arrival"]), "tables.trips.outcome"),
        (put("tables.trips.columns.text", ["line", "trip"]), "tables.trips.columns"),
    ],
)
def test_names_the_field_that_is_wrong(trips: Content, change: Callable[[Content], None], field: str) -> None:
    change(trips)

    with pytest.raises(ConfigurationError) as caught:
        parse(trips)

    assert caught.value.problem == f"The data contract is wrong at {field}"
    assert caught.value.received
    assert caught.value.expected


def test_refuses_two_times_and_no_features(trips: Content) -> None:
    twice = copy.deepcopy(trips)
    twice["derive"]["start"] = "planned"
    twice["columns"]["start"] = {"type": "timestamp", "role": "time"}
    with pytest.raises(ConfigurationError, match="columns"):
        parse(twice)

    for column in trips["columns"].values():
        if column.get("role", "feature") == "feature":
            column["role"] = "slice"
    with pytest.raises(ConfigurationError) as caught:
        parse(trips)
    assert caught.value.received == "no feature"


def test_a_contract_without_time_says_so_when_it_is_asked(trips: Content) -> None:
    trips["columns"]["planned"]["role"] = "slice"

    contract = parse(trips)

    with pytest.raises(ConfigurationError, match="no time column"):
        _ = contract.time_column


@pytest.mark.parametrize("text", ["name: [", "", "- a list"])
def test_refuses_what_is_no_contract_at_all(text: str) -> None:
    with pytest.raises(ConfigurationError, match="contract"):
        TableContract.parse(text)


def test_reads_a_contract_from_a_file_and_from_an_installed_package(contract_file: str) -> None:
    assert TableContract.read(contract_file).name == "nycflights13"
    shipped = TableContract.read("package://stepworks/pipelines/contracts/nycflights13.yaml")
    assert shipped.tables["flights"].file == "flights.csv.zip"


def test_names_a_contract_that_is_not_there_or_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"absent\.yaml"):
        TableContract.read(str(tmp_path / "absent.yaml"))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        TableContract.read(str(tmp_path))
