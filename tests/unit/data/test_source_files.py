from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from stepworks.data.locations import locate
from stepworks.data.recipe import SourceTable
from stepworks.data.sources import load_file, parse_csv
from stepworks.errors import DataError, NotFoundError, ResourceError, StepworksError

TABLE = SourceTable(
    file="trips.csv",
    nulls=("NA",),
    columns={"integer": ("trip",), "number": ("heat",), "boolean": ("express",), "timestamp": ("planned",)},
)
HEADER = "trip,heat,express,planned,extra\n"
ROW = "1,2.5,true,2024-05-01T08:00:00Z,x\n"


def parse(folder: Path, text: str) -> pl.DataFrame:
    (folder / "trips.csv").write_text(text)
    return parse_csv(load_file(folder / "trips.csv"), TABLE)


def failure(folder: Path, content: str | bytes, name: str = "trips.csv") -> StepworksError:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(StepworksError) as caught:
        parse_csv(load_file(path), TABLE)
    return caught.value


def test_reads_declared_columns_with_their_types(tmp_path: Path) -> None:
    frame = parse(tmp_path, HEADER + ROW + "NA,NaN,false,2024-05-01T11:00:00+02:00,x\n" + ",,,,\n")

    assert frame.schema == {
        "trip": pl.Int64,
        "heat": pl.Float64,
        "express": pl.Boolean,
        "planned": pl.Datetime("us"),
    }
    assert frame["trip"].to_list() == [1, None, None]
    assert frame["heat"].to_list() == [2.5, None, None]
    assert frame["express"].to_list() == [True, False, None]
    assert [moment and moment.isoformat() for moment in frame["planned"]] == [
        "2024-05-01T08:00:00",
        "2024-05-01T09:00:00",
        None,
    ]


def test_reads_the_one_file_of_an_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "trips.csv.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("folder")
        archive.writestr("folder/trips.csv", HEADER + ROW)

    assert parse_csv(load_file(tmp_path / "trips.csv.zip"), TABLE).height == 1


@pytest.mark.parametrize(
    ("row", "column", "value"),
    [
        ("one,2.5,true,2024-05-01T08:00:00Z,x", "trip", "one"),
        ("1.5,2.5,true,2024-05-01T08:00:00Z,x", "trip", "1.5"),
        ("1,warm,true,2024-05-01T08:00:00Z,x", "heat", "warm"),
        ("1,2.5,yes,2024-05-01T08:00:00Z,x", "express", "yes"),
        ("1,2.5,true,2024-13-01T08:00:00Z,x", "planned", "2024-13-01T08:00:00Z"),
    ],
)
def test_names_column_line_and_value_of_a_wrong_type(tmp_path: Path, row: str, column: str, value: str) -> None:
    error = failure(tmp_path, HEADER + ROW + ROW + row + "\n" + ROW)

    assert isinstance(error, DataError)
    assert error.problem == f"trips.csv has a wrong value in column {column}, line 4"
    assert repr(value) in error.received


def test_names_a_missing_column(tmp_path: Path) -> None:
    error = failure(tmp_path, "trip,heat,planned\n1,2,2024-05-01\n")

    assert isinstance(error, DataError)
    assert error.problem == "trips.csv lacks the column express"
    assert "heat" in error.received


@pytest.mark.parametrize(
    ("content", "received"),
    [
        (b"", "an empty file"),
        (b" \n", "an empty file"),
        (HEADER.encode(), "a header line without rows"),
        (HEADER.encode() + b'1,"2,true,2024-05-01,x\n1,2', ""),
        (HEADER.encode() + b"1,2.5,true,\xff\xfe,x\n", ""),
        (HEADER.replace(",extra", "").encode() + ROW.encode(), "more fields"),
    ],
)
def test_refuses_files_that_hold_no_table(tmp_path: Path, content: bytes, received: str) -> None:
    error = failure(tmp_path, content)

    assert isinstance(error, DataError)
    assert received in error.received
    assert "trips.csv" in error.problem


def test_refuses_a_truncated_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "whole.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("trips.csv", HEADER + ROW * 100)
    whole = (tmp_path / "whole.zip").read_bytes()

    error = failure(tmp_path, whole[: len(whole) // 2], "trips.csv.zip")

    assert isinstance(error, DataError)
    assert error.problem == "trips.csv.zip cannot be read"
    assert "not a whole zip archive" in error.received


def test_refuses_an_archive_with_damaged_content(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "whole.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("trips.csv", "".join(f"{number},{number * number}\n" for number in range(500)))
    damaged = bytearray((tmp_path / "whole.zip").read_bytes())
    damaged[200:300] = bytes(100)

    assert isinstance(failure(tmp_path, bytes(damaged), "trips.csv.zip"), DataError)


def test_refuses_an_archive_of_several_files(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a.csv", HEADER)
        archive.writestr("b.csv", HEADER)

    error = failure(tmp_path, (tmp_path / "two.zip").read_bytes(), "trips.csv.zip")

    assert error.received == "2 files in the archive"


def test_names_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file trips\.csv"):
        load_file(tmp_path / "trips.csv")


def test_says_when_the_machine_refuses_to_read(tmp_path: Path) -> None:
    path = tmp_path / "trips.csv"
    path.write_text(HEADER + ROW)
    path.chmod(0)
    if os.access(path, os.R_OK):  # the superuser may read everything
        path = tmp_path / ("long" * 100)

    with pytest.raises(ResourceError, match="Cannot read"):
        load_file(path)


def test_finds_a_package_without_running_it(tmp_path: Path, monkeypatch: Any) -> None:
    for name in ("stepworks_sample_flat", "stepworks_sample_deep/data"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name.split("/")[0] / "__init__.py").write_text("raise RuntimeError('the package was imported')")
    monkeypatch.syspath_prepend(tmp_path)

    assert locate("package://stepworks_sample_flat") == tmp_path / "stepworks_sample_flat"
    assert locate("package://stepworks_sample_deep") == tmp_path / "stepworks_sample_deep/data"


@pytest.mark.parametrize("source", ["package://no_such_package", "package://", "package://os.path", "/no/such/folder"])
def test_names_a_source_that_is_not_there(source: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        locate(source)

    assert caught.value.received == source
