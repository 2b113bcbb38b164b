from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from stepworks.data.contract import TableContract
from stepworks.data.validate import require_passed, validate_table
from stepworks.errors import DataError, NotFoundError
from stepworks.report.documents import Check, ValidationDocument


@pytest.fixture
def frame(ingested: Path) -> pl.DataFrame:
    return pl.read_parquet(ingested)


def validate(frame: pl.DataFrame, contract: TableContract, folder: Path) -> ValidationDocument:
    frame.write_parquet(folder / "table.parquet")
    return validate_table(folder / "table.parquet", contract)


def failed(document: ValidationDocument, severity: str = "error") -> dict[str, Check]:
    return {check.name: check for check in document.checks if not check.passed and check.severity == severity}


def test_real_rows_keep_their_contract(ingested: Path, flights_contract: TableContract) -> None:
    document = validate_table(ingested, flights_contract)

    assert document.passed
    assert document.rows == pl.read_parquet(ingested).height
    assert failed(document) == {}
    require_passed(document)
    assert {check.column for check in document.checks} >= set(flights_contract.columns)


@pytest.mark.parametrize(
    ("name", "change", "received"),
    [
        ("carrier type", pl.lit(1).alias("carrier"), "Int32"),
        ("row_id type", pl.col("row_id").cast(pl.Int64), "Int64"),
        ("distance nulls", pl.when(pl.col("row_id") > 2).then("distance"), "3 missing"),
        (
            "slack_minutes finite",
            pl.when(pl.col("row_id") > 0).then("slack_minutes").otherwise(float("inf")).alias("slack_minutes"),
            "1 not finite",
        ),
        (
            "humid range",
            pl.when(pl.col("row_id") > 1).then("humid").otherwise(101.0).alias("humid"),
            "2 values outside",
        ),
        ("departure_minute range", pl.col("departure_minute") - 1000, "outside"),
        (
            "origin allowed",
            pl.when(pl.col("row_id") > 0).then("origin").otherwise(pl.lit("BOS")).alias("origin"),
            "1 other values: ['BOS']",
        ),
        ("late classes", pl.lit(value=True).alias("late"), "the classes [True]"),
        (
            "flight_key unique",
            pl.when(pl.col("row_id") > 1).then("flight_key").otherwise(pl.lit("UA1")).alias("flight_key"),
            "1 doubled",
        ),
    ],
)
def test_finds_what_breaks_the_contract(
    frame: pl.DataFrame, flights_contract: TableContract, tmp_path: Path, name: str, change: pl.Expr, received: str
) -> None:
    document = validate(frame.with_columns(change), flights_contract, tmp_path)

    assert not document.passed
    assert list(failed(document)) == [name]
    assert received in failed(document)[name].received
    with pytest.raises(DataError) as caught:
        require_passed(document)
    assert name in caught.value.received
    assert failed(document)[name].expected in caught.value.expected


def test_finds_a_missing_column_and_goes_on_with_the_others(
    frame: pl.DataFrame, flights_contract: TableContract, tmp_path: Path
) -> None:
    broken = frame.drop("dest", "flight_key").with_columns(humid=pl.lit(-5.0))

    document = validate(broken, flights_contract, tmp_path)

    assert list(failed(document)) == ["flight_key type", "dest type", "humid range"]
    assert failed(document)["dest type"].received == "no such column"


def test_warns_of_features_that_tell_nothing(
    frame: pl.DataFrame, flights_contract: TableContract, tmp_path: Path
) -> None:
    dull = frame.with_columns(precip=pl.lit(0.0), seats=pl.when(pl.col("row_id") < 9).then("seats"))

    document = validate(dull, flights_contract, tmp_path)

    assert document.passed
    assert {"precip varies", "seats present"} <= set(failed(document, "warning"))


def test_refuses_a_table_without_rows(frame: pl.DataFrame, flights_contract: TableContract, tmp_path: Path) -> None:
    document = validate(frame.clear(), flights_contract, tmp_path)

    assert list(failed(document)) == ["rows"]


def test_several_identifiers_are_unique_together(
    frame: pl.DataFrame, flights_contract: TableContract, tmp_path: Path
) -> None:
    columns = flights_contract.model_dump()["columns"]
    columns["carrier"]["role"] = "identifier"
    contract = TableContract.model_validate(flights_contract.model_dump() | {"columns": columns})

    document = validate(frame, contract, tmp_path)

    assert document.passed
    assert [check.expected for check in document.checks if check.name == "unique"] == [
        "each flight_key and carrier once"
    ]


def test_names_a_file_that_is_no_table(flights_contract: TableContract, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no table"):
        validate_table(tmp_path / "table.parquet", flights_contract)
    (tmp_path / "table.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(DataError, match="not the expected table"):
        validate_table(tmp_path / "table.parquet", flights_contract)
