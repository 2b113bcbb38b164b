from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from stepworks.data.contract import TableContract
from stepworks.data.ingest import ingest_table
from tests.flights import flights_csv, flights_folder

CONTRACT_FILE = Path(__file__).parents[3] / "pipelines/contracts/nycflights13.yaml"
MONTHS = (1, 2)
DAYS = (15, 16, 17)


@pytest.fixture(scope="session")
def flights_text() -> str:
    """The contract of the flagship, read from a source of plain CSV files."""
    return CONTRACT_FILE.read_text().replace("flights.csv.zip", "flights.csv")


@pytest.fixture(scope="session")
def contract_file(flights_text: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same contract as a file, as the steps take it."""
    path = tmp_path_factory.mktemp("contract") / "flights.yaml"
    path.write_text(flights_text)
    return str(path)


@pytest.fixture(scope="session")
def flights_contract(flights_text: str) -> TableContract:
    return TableContract.parse(flights_text)


@pytest.fixture(scope="session")
def raw_tables() -> dict[str, pl.DataFrame]:
    """Six days of the real data: every column as text, as it lies in the files."""
    flights = pl.read_csv(flights_csv(), infer_schema=False)
    names = ("weather", "planes", "airports")
    tables = {name: pl.read_csv(flights_folder() / f"{name}.csv", infer_schema=False) for name in names}
    chosen = pl.col("month").is_in([str(month) for month in MONTHS]) & pl.col("day").is_in([str(day) for day in DAYS])
    return {"flights": flights.filter(chosen), **tables, "weather": tables["weather"].filter(chosen)}


@pytest.fixture
def source(raw_tables: dict[str, pl.DataFrame], tmp_path: Path) -> Path:
    """A folder with the files of the slice; a test may change them."""
    folder = tmp_path / "source"
    folder.mkdir()
    for name, table in raw_tables.items():
        table.write_csv(folder / f"{name}.csv")
    return folder


@pytest.fixture(scope="session")
def ingested(
    raw_tables: dict[str, pl.DataFrame], flights_contract: TableContract, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The slice as an ingested table; tests do not change it."""
    folder = tmp_path_factory.mktemp("ingested")
    for name, table in raw_tables.items():
        table.write_csv(folder / f"{name}.csv")
    ingest_table(str(folder), flights_contract, folder / "table.parquet")
    return folder / "table.parquet"


@pytest.fixture
def trips() -> dict[str, Any]:
    """A small contract with every type, as the content of its YAML text; a test may change it."""
    return {
        "name": "trips",
        "question": "Will this trip be late?",
        "tables": {
            "trips": {
                "file": "trips.csv",
                "nulls": ["NA"],
                "columns": {
                    "integer": ["trip", "delay"],
                    "text": ["line"],
                    "number": ["heat"],
                    "boolean": ["express"],
                    "timestamp": ["planned"],
                },
                "outcome": ["delay"],
            },
            "lines": {"file": "lines.csv", "columns": {"text": ["line"], "integer": ["stops"]}},
        },
        "base": "trips",
        "joins": [{"table": "lines", "keys": ["line"], "take": ["stops"]}],
        "derive": {"hot": "heat > 30"},
        "drop_rows": [{"name": "cancelled", "where": "delay IS NULL"}],
        "target": {"name": "late", "expression": "delay > 5"},
        "columns": {
            "planned": {"type": "timestamp", "role": "time"},
            "trip": {"type": "integer", "role": "identifier"},
            "line": {"type": "text", "allowed": ["A", "B", "C"]},
            "stops": {"type": "integer", "nullable": True, "minimum": 1, "maximum": 50},
            "heat": {"type": "number", "nullable": True},
            "hot": {"type": "boolean", "nullable": True},
            "express": {"type": "boolean"},
            "late": {"type": "boolean", "role": "target", "known_at": "outcome"},
        },
    }


@pytest.fixture
def trips_source(tmp_path: Path) -> Path:
    """The files of the small contract: five trips, of which one was cancelled."""
    folder = tmp_path / "trips"
    folder.mkdir()
    (folder / "trips.csv").write_text(
        "trip,line,planned,heat,express,delay,note\n"
        "4,B,2024-05-02T08:00:00Z,NA,true,9,x\n"
        "1,A,2024-05-01T08:00:00Z,31.5,false,0,x\n"
        "2,A,2024-05-01T11:00:00+02:00,NaN,true,7,x\n"
        "3,C,2024-05-01T10:00:00Z,12,false,NA,x\n"
        "5,C,2024-05-02T09:00:00Z,12,false,1,x\n"
    )
    (folder / "lines.csv").write_text("line,stops\nA,12\nB,7\n")
    return folder
