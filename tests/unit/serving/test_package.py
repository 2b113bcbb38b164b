"""A package answers what the trained model answers, from raw features."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import polars as pl
import pytest
import torch

from stepworks.data.transform import apply_transform
from stepworks.data.transform_parameters import CategoricalFeature, TransformParameters
from stepworks.errors import DataError, NotFoundError, RegistryError, ResourceError, ServingError
from stepworks.registry.registry import CHAMPION, Metadata, Registry
from stepworks.report.documents import VerdictDocument
from stepworks.serving.champion import champion_predictions
from stepworks.serving.formats.sources import choose_rows
from stepworks.serving.graph import build_graph
from stepworks.serving.manifest import InputTensor, Samples, read_package, write_manifest
from stepworks.serving.package import build_package
from stepworks.serving.predict import predict_package
from stepworks.serving.registration import register_package
from stepworks.serving.session import load_session, predict_rows
from stepworks.serving.tensors import tensor
from stepworks.training.predict import predict


def offline(model_directory: Path, raw: Path, scratch: Path) -> pl.DataFrame:
    apply_transform(raw, TransformParameters.read(model_directory), scratch / "features")
    return predict(model_directory, scratch / "features")


def test_the_graph_answers_as_transform_and_network_do(
    package: Path, model_directory: Path, raw_table: Path, tmp_path: Path
) -> None:
    expected = offline(model_directory, raw_table, tmp_path)
    answers = predict_package(package, raw_table, "late")
    assert answers.schema == expected.schema
    assert answers.drop("probability").equals(expected.drop("probability"))
    np.testing.assert_allclose(answers["probability"], expected["probability"], atol=1e-6)
    assert expected["probability"].max() - expected["probability"].min() > 0.5, "the answers differ from each other"


@pytest.mark.parametrize("kind", ["numeric", "categorical"])
def test_a_model_may_have_one_kind_of_feature(
    kind: str, raw_table: Path, tmp_path: Path, parameters: TransformParameters, make_model: Callable[..., Path]
) -> None:
    other = "categorical" if kind == "numeric" else "numeric"
    model = make_model(tmp_path / "model", seed=3, parameters=parameters.model_copy(update={other: ()}))
    build_package(model, raw_table, tmp_path / "package")
    answers = predict_package(tmp_path / "package", raw_table, "late")
    expected = offline(model, raw_table, tmp_path)
    np.testing.assert_allclose(answers["probability"], expected["probability"], atol=1e-6)


def test_a_text_without_known_values_is_always_unknown(
    raw_table: Path, tmp_path: Path, parameters: TransformParameters, make_model: Callable[..., Path]
) -> None:
    changed = parameters.model_copy(update={"categorical": (CategoricalFeature(name="carrier", values=()),)})
    model = make_model(tmp_path / "model", seed=3, parameters=changed)
    build_package(model, raw_table, tmp_path / "package")
    answers = predict_package(tmp_path / "package", raw_table, "late")
    np.testing.assert_allclose(answers["probability"], offline(model, raw_table, tmp_path)["probability"], atol=1e-6)


def test_equal_models_give_equal_packages(
    package: Path, model_directory: Path, raw_table: Path, tmp_path: Path
) -> None:
    again = build_package(model_directory, raw_table, tmp_path / "again")
    assert again == read_package(package)
    assert (tmp_path / "again" / "model.onnx").read_bytes() == (package / "model.onnx").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again"]


def test_a_package_replaces_an_older_one(model_directory: Path, raw_table: Path, tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "stale").write_text("")
    build_package(model_directory, raw_table, tmp_path / "package")
    assert sorted(path.name for path in (tmp_path / "package").iterdir()) == [
        "manifest.json",
        "model.onnx",
        "samples.json",
    ]


def test_the_graph_holds_no_path_of_this_machine(package: Path) -> None:
    content = (package / "model.onnx").read_bytes()
    assert b".py" not in content
    assert str(Path.home()).encode() not in content


def test_samples_hold_the_trained_models_answers(
    package: Path, model_directory: Path, raw_table: Path, tmp_path: Path
) -> None:
    samples = Samples.read(package)
    assert len(samples.rows) == 100
    assert sum(None in row.values() for row in samples.rows) >= 10
    expected = offline(model_directory, raw_table, tmp_path)["probability"]
    assert set(samples.probabilities) <= set(expected)
    np.testing.assert_allclose(predict_rows(package, samples.rows), samples.probabilities, atol=1e-6)


def test_samples_spread_over_the_table() -> None:
    table = pl.DataFrame({"x": [None if row == 7 else row for row in range(100)]})
    chosen = choose_rows(table, ["x"], 10)["x"].to_list()
    assert None in chosen
    assert len(chosen) == 10
    assert max(value for value in chosen if value is not None) > 80
    assert choose_rows(table, ["x"], 1000)["x"].to_list() == table["x"].to_list()


@pytest.mark.parametrize("file", ["model.onnx", "samples.json", "manifest.json"])
def test_a_changed_file_is_named(package: Path, tmp_path: Path, file: str) -> None:
    copy = Path(shutil.copytree(package, tmp_path / "copy"))
    if file == "manifest.json":
        content = json.loads((copy / file).read_text())
        content["inputs"][0]["name"] = "other"
        (copy / file).write_text(json.dumps(content))
    else:
        (copy / file).write_bytes((copy / file).read_bytes() + b" ")
    with pytest.raises(ServingError, match=f"missing or changed: {file}"):
        read_package(copy)


def test_a_missing_file_is_named(package: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(package, tmp_path / "copy"))
    (copy / "model.onnx").unlink()
    with pytest.raises(ServingError, match=r"missing or changed: model\.onnx"):
        read_package(copy)


def test_what_is_no_package_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"(?s)not a model package.*no such folder"):
        read_package(tmp_path / "gone")
    with pytest.raises(NotFoundError, match=r"no manifest\.json in it"):
        read_package(tmp_path)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(ServingError, match="is not a manifest"):
        read_package(tmp_path)


def test_a_package_enters_the_registry_by_the_gate_and_under_its_own_digest(package: Path, tmp_path: Path) -> None:
    passed = VerdictDocument(verdict="pass", reason="better", rules=[])
    copy = Path(shutil.copytree(package, tmp_path / "copy"))
    registered = register_package(tmp_path / "registry", "flights", copy, passed, "run-1")
    assert (registered.version, registered.digest) == (1, read_package(package).digest)
    assert read_package(Path(registered.uri)) == read_package(package)
    again = register_package(tmp_path / "registry", "flights", copy, passed, "run-1")
    assert again == registered.model_copy(update={"already_registered": True})
    failed = VerdictDocument(verdict="insufficient_data", reason="too few rows", rules=[])
    with pytest.raises(RegistryError, match=r"(?s)does not let this run register the model.*too few rows"):
        register_package(tmp_path / "registry", "flights", copy, failed, "run-2")
    assert Registry(tmp_path / "registry").get("flights", 1).metadata.override == ""
    overridden = failed.model_copy(update={"override": "no other will do"})
    version = register_package(tmp_path / "overridden", "flights", copy, overridden, "run-2").version
    assert Registry(tmp_path / "overridden").get("flights", version).metadata.override == "no other will do"
    (copy / "model.onnx").write_bytes(b"another")
    with pytest.raises(ServingError, match=r"missing or changed: model\.onnx"):
        register_package(tmp_path / "registry", "flights", copy, passed, "run-3")
    assert [path.name for path in (tmp_path / "registry" / "flights").iterdir()] == ["1"]


def test_the_champion_is_asked_where_there_is_one(
    package: Path, champion_package: Path, raw_table: Path, tmp_path: Path
) -> None:
    registry = Registry(tmp_path)
    assert champion_predictions(tmp_path, "flights", raw_table, "late") == {}
    for made, run in ((package, "1"), (champion_package, "2")):
        registry.register("flights", made, read_package(made).digest, Metadata(run=run, created_by="test"))
    assert champion_predictions(tmp_path, "flights", raw_table, "late") == {}, "registered is not champion"
    registry.set_alias("flights", CHAMPION, 2)
    found = champion_predictions(tmp_path, "flights", raw_table, "late")
    assert list(found) == ["champion 2"]
    assert found["champion 2"].equals(predict_package(champion_package, raw_table, "late"))


@pytest.mark.parametrize("content", ["{", '{"rows": [], "probabilities": []}', '{"rows": [{}], "probabilities": []}'])
def test_unusable_samples_are_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "samples.json").write_text(content)
    with pytest.raises(ServingError, match="no usable samples"):
        Samples.read(tmp_path)


@pytest.mark.parametrize(
    "row",
    [
        {"distance": 1.0, "wind_speed": 1.0, "carrier": "AA"},
        {"distance": "far", "wind_speed": 1.0, "carrier": "AA", "origin": "EWR"},
        {"distance": 1.0, "wind_speed": 1.0, "carrier": 7, "origin": "EWR"},
    ],
)
def test_a_row_that_does_not_fit_is_refused(package: Path, row: dict[str, float | str | None]) -> None:
    with pytest.raises(ServingError, match=r"(?s)does not fit the model's signature.*origin"):
        predict_rows(package, [row])


def test_missing_values_are_nan_and_the_empty_text() -> None:
    numbers = tensor([1, None, 2.5], InputTensor(name="distance", datatype="FP32"))
    assert (numbers.dtype, numbers.shape) == (np.float32, (3, 1))
    np.testing.assert_array_equal(numbers[:, 0], [1.0, np.nan, 2.5])
    assert tensor(["AA", None], InputTensor(name="carrier", datatype="BYTES")).tolist() == [["AA"], [""]]


def test_a_text_that_looks_like_a_number_is_none() -> None:
    with pytest.raises(TypeError, match=r"distance is a text: '1\.5'"):
        tensor([1.0, "1.5"], InputTensor(name="distance", datatype="FP32"))
    with pytest.raises(TypeError, match="carrier is not a text: 7"):
        tensor(["AA", 7], InputTensor(name="carrier", datatype="BYTES"))


def test_an_empty_text_cannot_be_a_category(parameters: TransformParameters) -> None:
    changed = parameters.model_copy(update={"categorical": (CategoricalFeature(name="carrier", values=("", "AA")),)})

    class Sum(torch.nn.Module):
        def forward(self, numeric: torch.Tensor, categorical: torch.Tensor) -> torch.Tensor:
            return numeric.sum(dim=1) + categorical.sum(dim=1)

    with pytest.raises(ServingError, match="The category carrier cannot be served"):
        build_graph(Sum(), changed)


def test_a_network_that_cannot_be_exported_says_why(parameters: TransformParameters) -> None:
    class Inverse(torch.nn.Module):
        def forward(self, numeric: torch.Tensor, categorical: torch.Tensor) -> torch.Tensor:
            return torch.linalg.eigvals(numeric.T @ numeric).real.sum() + numeric[:, 0]

    with pytest.raises(ServingError, match=r"(?s)cannot be exported.*eigvals"):
        build_graph(Inverse(), parameters)


def test_a_graph_that_cannot_be_loaded_is_named(package: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(package, tmp_path / "copy"))
    (copy / "model.onnx").write_bytes(b"nothing")
    manifest = write_manifest(copy, read_package(package).inputs)
    assert read_package(copy) == manifest
    with pytest.raises(ServingError, match="cannot be loaded"):
        load_session(copy)


def test_samples_need_rows(model_directory: Path, tmp_path: Path, make_raw_table: Callable[..., Path]) -> None:
    make_raw_table(tmp_path / "empty", rows=1)
    pl.read_parquet(tmp_path / "empty").head(0).write_parquet(tmp_path / "empty")
    with pytest.raises(DataError, match="no rows"):
        build_package(model_directory, tmp_path / "empty", tmp_path / "package")
    assert not (tmp_path / "package").exists()


def test_a_place_that_cannot_be_written_is_named(model_directory: Path, raw_table: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="Cannot write the package"):
        build_package(model_directory, raw_table, tmp_path / "file" / "package")


def test_an_empty_table_has_no_answers(package: Path, tmp_path: Path, make_raw_table: Callable[..., Path]) -> None:
    make_raw_table(tmp_path / "empty", rows=1)
    pl.read_parquet(tmp_path / "empty").head(0).write_parquet(tmp_path / "empty")
    assert predict_package(package, tmp_path / "empty", "late").height == 0


def test_the_graph_runs_on_old_runtimes(package: Path) -> None:
    model = onnx.load(package / "model.onnx")
    assert model.ir_version == 9
    assert {entry.domain: entry.version for entry in model.opset_import} == {"": 18, "ai.onnx.ml": 3}


def test_a_model_with_a_data_builder_of_its_own_is_refused(
    model_directory: Path, raw_table: Path, tmp_path: Path
) -> None:
    shutil.copytree(model_directory, tmp_path / "model")
    path = tmp_path / "model" / "model.json"
    path.write_text(path.read_text().replace("stepworks.training.tabular:read_rows", "mine:rows"))
    with pytest.raises(ServingError, match="the data builder mine:rows"):
        build_package(tmp_path / "model", raw_table, tmp_path / "package")


class OneInput(torch.nn.Module):
    def forward(self, everything: torch.Tensor) -> torch.Tensor:
        return everything.sum(dim=1)


def test_a_network_of_another_signature_is_refused(model_directory: Path) -> None:
    with pytest.raises(ServingError, match=r"forward\(everything"):
        build_graph(OneInput(), TransformParameters.read(model_directory))
