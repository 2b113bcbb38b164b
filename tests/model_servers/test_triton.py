"""Packages on the Triton of nvidia-pytriton, which has the python backend and no other.

A package with ONNX or TorchScript is therefore only read here as far as its configuration, in the unit tests.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest

from stepworks.serving.formats.triton import MAX_BATCH
from stepworks.serving.manifest import Samples, read_package
from stepworks.serving.package import build_package
from tests.model_servers.servers import PYTHON, columns, free_port, infer, require_recorded, running, site_packages

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="nvidia-pytriton has a Triton for Linux only")


@contextmanager
def triton(repository: Path, folder: Path) -> Iterator[str]:
    """A Triton over a model repository; the address of its model."""
    shipped = site_packages() / "pytriton" / "tritonserver"
    asked = "import sys, sysconfig; print(sysconfig.get_config_var('LIBDIR'), '%d.%d' % sys.version_info[:2])"
    libraries, version = subprocess.run(
        [PYTHON, "-c", asked], capture_output=True, text=True, check=True
    ).stdout.split()
    backends = Path(shutil.copytree(shipped / "backends", folder / "backends"))
    shutil.copy(shipped / "python_backend_stubs" / version / "triton_python_backend_stub", backends / "python")
    port = free_port()
    options = {
        "--model-repository": repository,
        "--backend-directory": backends,
        "--http-address": "127.0.0.1",
        "--http-port": port,
        "--allow-grpc": "false",
        "--allow-metrics": "false",
    }
    command = [shipped / "bin" / "tritonserver", *(f"{name}={value}" for name, value in options.items())]
    environment = {
        "LD_LIBRARY_PATH": f"{libraries}:{site_packages() / 'nvidia_pytriton.libs'}",
        "PYTHONPATH": str(site_packages()),
    }
    address = f"http://127.0.0.1:{port}/v2/models/model"
    with running(command, f"{address}/ready", folder, environment):
        yield address


def test_a_table_is_answered_as_recorded_in_batches_and_alone(
    model_directory: Path, raw_table: Path, tmp_path: Path
) -> None:
    build_package(model_directory, raw_table, tmp_path / "package", format="triton-python")
    samples, manifest = Samples.read(tmp_path / "package"), read_package(tmp_path / "package")
    datatypes = {each.name: each.datatype for each in manifest.inputs}
    with triton(tmp_path / "package" / "model", tmp_path) as address:
        told = httpx.get(address, trust_env=False).json()
        assert {each["name"]: each["datatype"] for each in told["inputs"]} == datatypes
        assert told["outputs"] == [{"name": "probability", "datatype": "FP32", "shape": [-1, 1]}]

        def ask(start: int, count: int) -> list[float]:
            body = {"inputs": columns(samples.rows[start : start + count], datatypes, float("nan"))}
            # JSON has no NaN; Triton reads the word all the same, and null it does not.
            answer = httpx.post(f"{address}/infer", content=json.dumps(body), timeout=60, trust_env=False)
            assert answer.status_code == 200, answer.text
            return [float(value) for value in answer.json()["outputs"][0]["data"]]

        together = [*ask(0, MAX_BATCH), *ask(MAX_BATCH, len(samples.rows) - MAX_BATCH)]
        with ThreadPoolExecutor(16) as pool:
            alone = [answer for part in pool.map(lambda row: ask(row, 1), range(len(samples.rows))) for answer in part]
        require_recorded(address.partition("/v2/")[0], tmp_path / "package")
    np.testing.assert_allclose(together, samples.probabilities, atol=1e-6)
    np.testing.assert_allclose(alone, samples.probabilities, atol=1e-6)


def test_an_exported_program_answers_images_as_recorded(image_model: Path, images: Path, tmp_path: Path) -> None:
    build_package(image_model, images, tmp_path / "package", format="triton-python")
    samples = Samples.read(tmp_path / "package")
    pixels = np.array([row["images"] for row in samples.rows])
    with triton(tmp_path / "package" / "model", tmp_path) as address:
        for some in (pixels, pixels[:1]):
            given = {"name": "images", "datatype": "UINT8", "shape": list(some.shape), "data": some.ravel().tolist()}
            output = infer(f"{address}/infer", [given])
            assert output["shape"] == [len(some), 3]
            answers = np.reshape(output["data"], output["shape"])
            np.testing.assert_allclose(answers, samples.answers[: len(some)], atol=1e-4)
        require_recorded(address.partition("/v2/")[0], tmp_path / "package")
