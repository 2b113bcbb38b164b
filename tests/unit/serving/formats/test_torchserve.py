"""The archive for TorchServe: its handler, out of the archive, answers both of KServe's protocols.

`make test-model-servers` serves it on a real TorchServe.
"""

from __future__ import annotations

import importlib.util
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from stepworks.errors import ServingError
from stepworks.serving.formats import torchserve
from stepworks.serving.manifest import Samples
from stepworks.serving.package import build_package

Packaged = Callable[[str, str], Path]


class Handling:
    """A handler that was initialised as TorchServe does, and how the requests went."""

    def __init__(self, package: Path, folder: Path) -> None:
        with zipfile.ZipFile(package / "model/model-store/model.mar") as archive:
            archive.extractall(folder)
        manifest = json.loads((folder / "MAR-INF/MANIFEST.json").read_text())
        specification = importlib.util.spec_from_file_location("handler", folder / manifest["model"]["handler"])
        assert specification is not None
        assert specification.loader is not None
        module = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(module)
        self.handler = module.Handler()
        properties = {"model_dir": str(folder), "gpu_id": None}
        self.handler.initialize(SimpleNamespace(system_properties=properties, manifest=manifest))

    def ask(self, *bodies: Any) -> tuple[list[Any], dict[int, int]]:
        """The answers to the requests of one batch, and the status of those that were refused."""
        refused: dict[int, int] = {}

        def set_response_status(code: int, phrase: str, index: int) -> None:
            refused[index] = code

        context = SimpleNamespace(set_response_status=set_response_status)
        return self.handler.handle([{"body": body} for body in bodies], context), refused


def v2(rows: list[dict[str, Any]], datatypes: dict[str, str]) -> dict[str, Any]:
    inputs = []
    for name, datatype in datatypes.items():
        data = [("" if row[name] is None else row[name]) if datatype == "BYTES" else row[name] for row in rows]
        inputs.append({"name": name, "datatype": datatype, "shape": [len(rows), 1], "data": data})
    return {"id": "7", "inputs": inputs}


COLUMNS = {"distance": "FP32", "wind_speed": "FP32", "carrier": "BYTES", "origin": "BYTES"}


def test_a_batch_of_both_protocols_is_answered_as_recorded(packaged: Packaged, tmp_path: Path) -> None:
    package = packaged("torchserve", "table")
    samples = Samples.read(package)
    first, second = samples.rows[:60], samples.rows[60:]
    handling = Handling(package, tmp_path)
    one, other = {"instances": first}, json.dumps(v2(second, COLUMNS)).encode()
    answers, refused = handling.ask(one, {"rows": []}, other)
    assert refused == {1: 400}
    assert "expected instances (V1) or inputs (V2)" in answers[1]["error"]
    np.testing.assert_allclose(answers[0]["predictions"], samples.probabilities[:60], atol=1e-6)
    (output,) = answers[2]["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("probability", "FP32", [len(second), 1])
    np.testing.assert_allclose(output["data"], samples.probabilities[60:], atol=1e-6)
    assert (answers[2]["id"], answers[2]["model_name"]) == ("7", "model")


def test_images_are_answered_as_recorded(packaged: Packaged, tmp_path: Path) -> None:
    package = packaged("torchserve", "images")
    samples = Samples.read(package)
    flat = np.array([row["images"] for row in samples.rows]).flatten().tolist()
    given = {"name": "images", "datatype": "UINT8", "shape": [10, 3, 16, 16], "data": flat}
    answers, refused = Handling(package, tmp_path).ask(
        {"instances": [row["images"] for row in samples.rows]}, {"inputs": [given]}
    )
    assert refused == {}
    np.testing.assert_allclose(answers[0]["predictions"], samples.answers, atol=1e-4)
    (output,) = answers[1]["outputs"]
    assert output["shape"] == [10, 3]
    np.testing.assert_allclose(np.reshape(output["data"], (10, 3)), samples.answers, atol=1e-4)


ROW = {"distance": 1.0, "wind_speed": 2.0, "carrier": "AA", "origin": "EWR"}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"{", "JSONDecodeError"),
        ([1], "expected a JSON object"),
        ({"instances": []}, "at least one row"),
        ({"instances": [{**ROW, "more": 1}]}, "expected ['carrier', 'distance', 'origin', 'wind_speed'] in each row"),
        ({"instances": [{**ROW, "distance": "far"}]}, "distance is a number or null, received 'far'"),
        ({"instances": [{**ROW, "carrier": ["AA"]}]}, "TypeError"),
        ({"inputs": [{"name": "distance", "shape": [2, 1], "data": [1]}]}, "expected 2 values for the shape"),
        ({"inputs": [{"name": "distance", "data": [1]}]}, "KeyError: 'shape'"),
        (
            {"inputs": [{"name": "a", "shape": [2], "data": [1, 2]}, {"name": "b", "shape": [1], "data": [1]}]},
            "the same number of rows",
        ),
    ],
)
def test_what_is_no_request_is_refused(packaged: Packaged, tmp_path: Path, body: Any, told: str) -> None:
    (answer,), refused = Handling(packaged("torchserve", "table"), tmp_path).ask(body)
    assert refused == {0: 400}
    assert told in answer["error"]


def test_an_image_of_another_size_is_refused_and_its_neighbour_answered(packaged: Packaged, tmp_path: Path) -> None:
    package = packaged("torchserve", "images")
    small = {"instances": [np.zeros((3, 8, 8)).tolist()]}
    whole = {"instances": [Samples.read(package).rows[0]["images"]]}
    answers, refused = Handling(package, tmp_path).ask(small, whole)
    assert refused == {0: 400}
    assert "images has the shape [3, 16, 16] a row, received [3, 8, 8]" in answers[0]["error"]
    np.testing.assert_allclose(answers[1]["predictions"][0], Samples.read(package).answers[0], atol=1e-4)


def test_the_configuration_names_what_kserves_wrapper_reads(packaged: Packaged) -> None:
    lines = (packaged("torchserve", "table") / "model/config/config.properties").read_text().splitlines()
    settings = dict(line.split("=", 1) for line in lines)
    assert settings["inference_address"] == settings["management_address"] == "http://0.0.0.0:8085"
    assert settings["model_store"] == "/mnt/models/model-store"
    assert settings["enable_envvars_config"] == "false", "KServe's envelope would take the bodies from the handler"
    snapshot = json.loads(settings["model_snapshot"])
    assert snapshot["models"]["model"]["1.0"]["marName"] == "model.mar"


def test_packaging_for_torchserve_warns_of_its_state(model_directory: Path, raw_table: Path, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="TorchServe is archived upstream"):
        build_package(model_directory, raw_table, tmp_path / "package", 10, "torchserve")


def test_without_the_archiver_it_is_told_what_to_install(
    model_directory: Path, raw_table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torchserve.sys, "executable", "/bin/false")
    with (
        pytest.warns(UserWarning, match="archived"),
        pytest.raises(ServingError, match=r"(?s)cannot be made.*stepworks\[torchserve\]"),
    ):
        build_package(model_directory, raw_table, tmp_path / "package", 10, "torchserve")
    assert list(tmp_path.iterdir()) == []
