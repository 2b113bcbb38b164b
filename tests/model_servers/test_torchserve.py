"""Packages on TorchServe, with the configuration of the package but for its addresses."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest

from stepworks.serving.manifest import Samples, read_package
from stepworks.serving.package import build_package
from tests.model_servers.servers import ENVIRONMENT, columns, free_port, infer, require_recorded, running

pytestmark = [
    pytest.mark.skipif(
        shutil.which("java") is None, reason="TorchServe needs Java. On Debian: apt install openjdk-17-jre-headless"
    ),
    pytest.mark.filterwarnings("ignore:TorchServe is archived"),
]


@contextmanager
def torchserve(package: Path, folder: Path) -> Iterator[str]:
    """A TorchServe over a package, as KServe starts it; its address."""
    config = (package / "model" / "config" / "config.properties").read_text().replace("0.0.0.0", "127.0.0.1")
    ports = {written: str(free_port()) for written in ("8085", "8082", "7070", "7071")}
    for written, port in ports.items():
        config = re.sub(rf"(?<=[:=]){written}$", port, config, flags=re.MULTILINE)
    (folder / "config.properties").write_text(config)
    command = [
        ENVIRONMENT / "bin" / "torchserve",
        "--start",
        "--foreground",
        f"--model-store={package / 'model' / 'model-store'}",
        f"--ts-config={folder / 'config.properties'}",
    ]
    # The envelope is what KServe's runtime sets; the handler is to get whole bodies all the same.
    environment = {
        "TS_SERVICE_ENVELOPE": "kservev2",
        "TMPDIR": str(folder),  # where it notes that it runs, once for each machine
        "LOG_LOCATION": str(folder / "logs"),
        "METRICS_LOCATION": str(folder / "logs"),
    }
    address = f"http://127.0.0.1:{ports['8085']}"
    with running(command, f"{address}/models/model", folder, environment, wanted='"READY"'):
        yield address


def test_a_table_is_answered_as_recorded_by_both_protocols(
    model_directory: Path, raw_table: Path, tmp_path: Path
) -> None:
    build_package(model_directory, raw_table, tmp_path / "package", format="torchserve")
    samples, manifest = Samples.read(tmp_path / "package"), read_package(tmp_path / "package")
    datatypes = {each.name: each.datatype for each in manifest.inputs}
    with torchserve(tmp_path / "package", tmp_path) as address:
        path = f"{address}/v1/models/model:predict"
        answer = httpx.post(path, json={"instances": samples.rows}, timeout=60, trust_env=False)
        assert answer.status_code == 200, answer.text
        output = infer(f"{address}/v2/models/model/infer", columns(samples.rows, datatypes))
        require_recorded(address, tmp_path / "package")
        refused = httpx.post(path, json={"instances": [{"distance": 1.0}]}, timeout=60, trust_env=False)
    np.testing.assert_allclose(answer.json()["predictions"], samples.probabilities, atol=1e-6)
    assert (output["name"], output["shape"]) == ("probability", [len(samples.rows), 1])
    np.testing.assert_allclose(output["data"], samples.probabilities, atol=1e-6)
    assert refused.status_code == 400
    assert "in each row, received ['distance']" in refused.json()["error"]


def test_images_are_answered_as_recorded(image_model: Path, images: Path, tmp_path: Path) -> None:
    build_package(image_model, images, tmp_path / "package", format="torchserve")
    samples = Samples.read(tmp_path / "package")
    pixels = np.array([row["images"] for row in samples.rows])
    given = {"name": "images", "datatype": "UINT8", "shape": list(pixels.shape), "data": pixels.ravel().tolist()}
    with torchserve(tmp_path / "package", tmp_path) as address:
        output = infer(f"{address}/v2/models/model/infer", [given])
        require_recorded(address, tmp_path / "package")
    np.testing.assert_allclose(np.reshape(output["data"], output["shape"]), samples.answers, atol=1e-4)
