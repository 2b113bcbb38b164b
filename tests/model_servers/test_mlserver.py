"""Models of one's own on MLServer, started as KServe's runtime kserve-mlserver starts it."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression

from stepworks.serving.formats.estimators import package_estimator
from stepworks.serving.manifest import Samples, read_package
from tests.model_servers.servers import ENVIRONMENT, free_port, infer, require_recorded, running

NAMES = ["a", "b", "c"]
IMPLEMENTATIONS = {
    "sklearn": "mlserver_sklearn.SKLearnModel",
    "xgboost": "mlserver_xgboost.XGBoostModel",
    "lightgbm": "mlserver_lightgbm.LightGBMModel",
}


def trained(layout: str, rows: np.ndarray[Any, Any], folder: Path) -> Path:
    """A small model in a file of its library."""
    target = (rows[:, 0] + 2 * rows[:, 1] > 0.3).astype(int)
    if layout == "sklearn":
        joblib.dump(LogisticRegression().fit(rows, target), folder / "m.joblib")
        return folder / "m.joblib"
    library = importlib.import_module(layout)
    if layout == "xgboost":
        matrix = library.DMatrix(rows, target, feature_names=NAMES)
        library.train({"objective": "binary:logistic"}, matrix, 5).save_model(folder / "m.json")
        return folder / "m.json"
    data = library.Dataset(rows, target, feature_name=NAMES)
    library.train({"objective": "binary", "verbose": -1}, data, 5).save_model(folder / "m.txt")
    return folder / "m.txt"


@pytest.mark.parametrize("layout", IMPLEMENTATIONS)
def test_a_model_of_ones_own_is_answered_as_recorded(layout: str, tmp_path: Path) -> None:
    rows = np.random.default_rng(3).normal(size=(50, 3))
    pl.DataFrame(rows, NAMES).write_parquet(tmp_path / "rows.parquet")
    model = trained(layout, rows, tmp_path)
    package_estimator(model, tmp_path / "rows.parquet", tmp_path / "package", format=layout, features=NAMES)
    samples, manifest = Samples.read(tmp_path / "package"), read_package(tmp_path / "package")
    ports = {name: str(free_port()) for name in ("HTTP", "GRPC", "METRICS")}
    environment = {
        **{f"MLSERVER_{name}_PORT": port for name, port in ports.items()},
        "MLSERVER_HOST": "127.0.0.1",
        "MLSERVER_PARALLEL_WORKERS": "0",
        "MLSERVER_MODEL_NAME": "mine",
        "MLSERVER_MODEL_URI": str(tmp_path / "package" / "model"),
        "MLSERVER_MODEL_IMPLEMENTATION": IMPLEMENTATIONS[layout],
    }
    address = f"http://127.0.0.1:{ports['HTTP']}/v2/models/mine"
    command = [ENVIRONMENT / "bin" / "mlserver", "start", tmp_path / "package" / "model"]
    with running(command, f"{address}/ready", tmp_path, environment):
        values = [value for row in samples.rows for value in row["features"]]
        (tensor,) = manifest.inputs
        given = {"name": tensor.name, "datatype": tensor.datatype, "shape": [len(samples.rows), 3], "data": values}
        output = infer(f"{address}/infer", [given])
        require_recorded(address.partition("/v2/")[0], tmp_path / "package", "kserve-mlserver")
    np.testing.assert_allclose(np.ravel(output["data"]), samples.answers, atol=1e-6)
