"""Models of one's own: what is packaged loads by its library, as the servers load it, and answers as recorded.

`make test-model-servers` serves them on MLServer.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import polars as pl
import pytest
from kfp.dsl import Dataset, Model
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from stepworks.components.serving.package_estimator.component import package_estimator as component
from stepworks.errors import ConfigurationError, NotFoundError, ServingError
from stepworks.serving.formats.estimators import package_estimator
from stepworks.serving.manifest import Samples, read_package

NAMES = ["a", "b", "c"]


@pytest.fixture(scope="module")
def rows() -> np.ndarray[Any, Any]:
    return np.random.default_rng(3).normal(size=(60, 3))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory, rows: np.ndarray[Any, Any]) -> Path:
    path = tmp_path_factory.mktemp("rows") / "rows.parquet"
    # In another order than the model's, and beside a column that is none of its features.
    pl.DataFrame({"text": ["x"] * 60, "c": rows[:, 2], "b": rows[:, 1], "a": rows[:, 0]}).write_parquet(path)
    return path


def target(rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return (rows[:, 0] + 2 * rows[:, 1] > 0.3).astype(int)


def given(package: Path) -> np.ndarray[Any, Any]:
    return np.array([row["features"] for row in Samples.read(package).rows], dtype=float)


def test_a_pipeline_of_scikit_learn(rows: np.ndarray[Any, Any], table: Path, tmp_path: Path) -> None:
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, target(rows))
    joblib.dump(model, tmp_path / "pipeline.joblib")
    package = Model(name="package", uri=str(tmp_path / "package"))
    component.python_func(
        Model(name="model", uri=str(tmp_path)),
        Dataset(name="rows", uri=str(table)),
        package,
        "sklearn",
        "pipeline.joblib",
        NAMES,
    )
    manifest = read_package(tmp_path / "package")
    assert package.metadata["digest"] == manifest.digest
    assert (manifest.format, set(manifest.files)) == ("sklearn", {"model/model.joblib", "samples.json"})
    assert (manifest.inputs[0].shape, manifest.output.datatype, manifest.output.shape) == ((3,), "INT64", (1,))
    np.testing.assert_array_equal(given(tmp_path / "package"), rows)
    loaded = joblib.load(tmp_path / "package/model/model.joblib")
    assert loaded.predict(given(tmp_path / "package")).tolist() == Samples.read(tmp_path / "package").answers
    assert set(Samples.read(tmp_path / "package").answers) == {0, 1}


def test_a_missing_value_is_null(rows: np.ndarray[Any, Any], tmp_path: Path) -> None:
    joblib.dump(HistGradientBoostingRegressor(max_iter=5).fit(rows, rows[:, 0]), tmp_path / "m.pkl")
    pl.DataFrame({"a": [1.0, None], "b": [0.0, 1.0], "c": [0, 1]}).write_parquet(tmp_path / "rows")
    package_estimator(tmp_path / "m.pkl", tmp_path / "rows", tmp_path / "p", format="sklearn", features=NAMES)
    assert Samples.read(tmp_path / "p").rows[1] == {"features": [None, 1.0, 1.0]}
    assert read_package(tmp_path / "p").output.datatype == "FP64"


@pytest.mark.parametrize("suffix", [".json", ".ubj"])
def test_xgboost_answers_rows_without_names_as_kserves_server_gives_them(
    rows: np.ndarray[Any, Any], table: Path, tmp_path: Path, suffix: str
) -> None:
    xgboost = importlib.import_module("xgboost")
    matrix = xgboost.DMatrix(rows, target(rows), feature_names=NAMES)
    booster = xgboost.train({"objective": "binary:logistic", "max_depth": 2}, matrix, 5)
    booster.save_model(tmp_path / f"b{suffix}")
    manifest = package_estimator(tmp_path / f"b{suffix}", table, tmp_path / "package", format="xgboost")
    assert set(manifest.files) == {f"model/model{suffix}", "samples.json"}
    loaded = xgboost.Booster(model_file=tmp_path / f"package/model/model{suffix}")
    answers = loaded.predict(xgboost.DMatrix(given(tmp_path / "package")))
    np.testing.assert_allclose(answers, Samples.read(tmp_path / "package").answers, atol=1e-6)
    np.testing.assert_allclose(answers, booster.predict(matrix), atol=1e-6)


def test_lightgbm(rows: np.ndarray[Any, Any], table: Path, tmp_path: Path) -> None:
    lightgbm = importlib.import_module("lightgbm")
    data = lightgbm.Dataset(rows, target(rows), feature_name=NAMES)
    booster = lightgbm.train({"objective": "binary", "verbose": -1, "min_data_in_leaf": 5, "num_threads": 1}, data, 5)
    booster.save_model(tmp_path / "model.txt")
    manifest = package_estimator(tmp_path / "model.txt", table, tmp_path / "package", format="lightgbm")
    assert set(manifest.files) == {"model/model.bst", "samples.json"}, "KServe's server reads .bst only"
    loaded = lightgbm.Booster(model_file=tmp_path / "package/model/model.bst")
    np.testing.assert_allclose(loaded.predict(given(tmp_path / "package")), booster.predict(rows), atol=1e-12)
    np.testing.assert_allclose(Samples.read(tmp_path / "package").answers, booster.predict(rows), atol=1e-12)


class Counting:
    """A model that says what it is asked, and knows no names."""

    def predict(self, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if rows.shape[1] != 2:
            raise ValueError("two columns are wanted")
        return np.array([f"{a:g}-{b:g}" for a, b in rows])


def nothing(path: Path) -> None:
    path.write_bytes(b"nothing")


def counting(path: Path) -> None:
    joblib.dump(Counting(), path)


@pytest.mark.parametrize(
    ("file", "make", "layout", "features", "error", "told"),
    [
        ("m.joblib", counting, "triton", NAMES, ConfigurationError, "(?s)one's own cannot be packaged for triton.*skl"),
        ("m.onnx", nothing, "sklearn", NAMES, NotFoundError, r"(?s)ends with \.onnx.*\.joblib, \.pkl, \.pickle"),
        ("m.joblib", nothing, "sklearn", NAMES, ServingError, "(?s)holds no sklearn model.*joblib.dump"),
        ("m.json", nothing, "xgboost", NAMES, ServingError, "holds no xgboost model"),
        ("m.txt", nothing, "lightgbm", NAMES, ServingError, "holds no lightgbm model"),
        ("m.joblib", counting, "sklearn", [], ConfigurationError, "does not say what its features are called"),
        ("m.joblib", counting, "sklearn", NAMES, ServingError, "(?s)does not answer the samples.*two columns"),
        ("m.joblib", counting, "sklearn", ["a", "text"], ServingError, "columns that are no numbers: text"),
    ],
)
def test_what_cannot_be_packaged_is_told_and_leaves_nothing(
    table: Path,
    tmp_path: Path,
    file: str,
    make: Callable[[Path], None],
    layout: str,
    features: list[str],
    error: type[Exception],
    told: str,
) -> None:
    make(tmp_path / file)
    with pytest.raises(error, match=told):
        package_estimator(tmp_path / file, table, tmp_path / "package", format=layout, features=features)
    assert [path.name for path in tmp_path.iterdir()] == [file]


def test_texts_are_answers_too(rows: np.ndarray[Any, Any], table: Path, tmp_path: Path) -> None:
    counting(tmp_path / "m.joblib")
    manifest = package_estimator(
        tmp_path / "m.joblib", table, tmp_path / "package", format="sklearn", features=["a", "b"], sample_rows=3
    )
    assert manifest.output.datatype == "BYTES"
    assert Samples.read(tmp_path / "package").answers == [f"{a:g}-{b:g}" for a, b, _ in rows[:3]]
