"""Models of one's own on KServe's servers for them, whose sources are in KServe's Go module and not on PyPI."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stepworks.serving.formats.estimators import ANSWER, package_estimator
from stepworks.serving.manifest import Samples, read_package
from tests.model_servers.servers import free_port, infer, require_recorded, running
from tests.model_servers.test_mlserver import NAMES, trained

KSERVE = "github.com/kserve/kserve@v0.20.0"
SERVERS = {"sklearn": "sklearnserver", "xgboost": "xgbserver", "lightgbm": "lgbserver"}

pytestmark = pytest.mark.skipif(
    shutil.which("go") is None,
    reason="KServe's servers are read out of its Go module. On Debian: apt install golang-go",
)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """KServe's Python sources; Go keeps them in its cache."""
    told = subprocess.run(
        ["go", "mod", "download", "-json", KSERVE],
        cwd=tmp_path_factory.mktemp("go"),
        capture_output=True,
        text=True,
        check=True,
    )
    return Path(json.loads(told.stdout)["Dir"]) / "python"


@pytest.mark.parametrize("layout", SERVERS)
def test_kserves_own_server_answers_as_recorded(layout: str, sources: Path, tmp_path: Path) -> None:
    rows = np.random.default_rng(3).normal(size=(50, 3))
    pl.DataFrame(rows, NAMES).write_parquet(tmp_path / "rows.parquet")
    model = trained(layout, rows, tmp_path)
    package_estimator(model, tmp_path / "rows.parquet", tmp_path / "package", format=layout, features=NAMES)
    samples, manifest = Samples.read(tmp_path / "package"), read_package(tmp_path / "package")
    port = free_port()
    options = {"--model_name": "mine", "--model_dir": tmp_path / "package" / "model", "--http_port": port}
    command = [
        sys.executable,
        *("-m", SERVERS[layout]),
        *(f"{name}={value}" for name, value in options.items()),
        "--enable_grpc=false",
    ]
    environment = {"PYTHONPATH": f"{sources / SERVERS[layout]}:{sources / 'storage'}"}
    address = f"http://127.0.0.1:{port}/v2/models/mine"
    with running(command, f"{address}/ready", tmp_path, environment):
        values = [value for row in samples.rows for value in row["features"]]
        (tensor,) = manifest.inputs
        given = {"name": tensor.name, "datatype": tensor.datatype, "shape": [len(samples.rows), 3], "data": values}
        output = infer(f"{address}/infer", [given])
        require_recorded(address.partition("/v2/")[0], tmp_path / "package")
    assert (output["name"], output["datatype"]) == (ANSWER, manifest.output.datatype)
    np.testing.assert_allclose(output["data"], samples.answers, atol=1e-6)
