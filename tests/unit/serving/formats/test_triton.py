"""Model repositories: their configuration by Triton's own protobuf, and their programs by what Triton runs them with.

`make test-model-servers` serves them on a real Triton.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig

from stepworks.serving.formats.triton import MAX_BATCH, model_config
from stepworks.serving.manifest import InputTensor, OutputTensor, Samples, read_package
from stepworks.serving.tensors import tensor

Packaged = Callable[[str, str], Path]
VERSION = "model/model/1"


def config_of(package: Path) -> ModelConfig:
    return text_format.Parse((package / "model/model/config.pbtxt").read_text(), ModelConfig())


def images_of(package: Path) -> np.ndarray[Any, Any]:
    return np.array([row["images"] for row in Samples.read(package).rows], dtype=np.uint8)


@pytest.mark.parametrize(("layout", "backend"), [("triton", "onnxruntime"), ("triton-python", "python")])
def test_the_configuration_of_a_table_is_what_triton_reads(packaged: Packaged, layout: str, backend: str) -> None:
    config = config_of(packaged(layout, "table"))
    assert (config.name, config.backend, config.platform) == ("model", backend, "")
    assert config.max_batch_size == MAX_BATCH
    assert config.HasField("dynamic_batching")
    types = {each.name: DataType.Name(each.data_type) for each in config.input}
    assert types == {
        "distance": "TYPE_FP32",
        "wind_speed": "TYPE_FP32",
        "carrier": "TYPE_STRING",
        "origin": "TYPE_STRING",
    }
    assert [list(each.dims) for each in (*config.input, *config.output)] == [[1]] * 5
    assert config.output[0].name == "probability"


@pytest.mark.parametrize(
    ("layout", "backend", "platform"),
    [
        ("triton", "onnxruntime", ""),
        ("triton-torchscript", "pytorch", "pytorch_libtorch"),
    ],
)
def test_the_configuration_of_images_is_what_triton_reads(
    packaged: Packaged, layout: str, backend: str, platform: str
) -> None:
    config = config_of(packaged(layout, "images"))
    assert (config.backend, config.platform) == (backend, platform)
    (given,), (answer,) = config.input, config.output
    assert (given.name, list(given.dims)) == ("images", [3, 16, 16])
    assert (answer.name, list(answer.dims)) == ("logits", [3])
    assert [DataType.Name(each.data_type) for each in (given, answer)] == ["TYPE_UINT8", "TYPE_FP32"]


def test_any_name_of_a_column_is_kept() -> None:
    names = ['say "x"', "Größe", "a\\b", "tab\tnew\nline"]
    inputs = tuple(InputTensor(name=name, datatype="FP32") for name in names)
    config = text_format.Parse(model_config("m", "onnxruntime", inputs, OutputTensor()), ModelConfig())
    assert [each.name for each in config.input] == names


def test_the_graph_has_the_configurations_tensors_and_rows_to_batch(packaged: Packaged) -> None:
    for kind in ("table", "images"):
        package = packaged("triton", kind)
        graph = onnx.load(package / VERSION / "model.onnx").graph
        config = config_of(package)
        for value, wanted in zip((*graph.input, *graph.output), (*config.input, *config.output), strict=True):
            first, *rest = value.type.tensor_type.shape.dim
            assert value.name == wanted.name
            assert first.dim_param
            assert [each.dim_value for each in rest] == list(wanted.dims)


def test_the_graph_answers_as_recorded(packaged: Packaged) -> None:
    package = packaged("triton", "table")
    samples, manifest = Samples.read(package), read_package(package)
    session = onnxruntime.InferenceSession(package / VERSION / "model.onnx")
    feed = {each.name: tensor([row[each.name] for row in samples.rows], each) for each in manifest.inputs}
    np.testing.assert_allclose(session.run(None, feed)[0][:, 0], samples.probabilities, atol=1e-6)
    package = packaged("triton", "images")
    session = onnxruntime.InferenceSession(package / VERSION / "model.onnx")
    answers = session.run(None, {"images": images_of(package)})[0]
    np.testing.assert_allclose(answers, Samples.read(package).answers, atol=1e-4)


def test_torchscript_answers_as_recorded_whatever_the_number_of_rows(packaged: Packaged) -> None:
    package = packaged("triton-torchscript", "images")
    program = torch.jit.load(package / VERSION / "model.pt")
    images, expected = torch.from_numpy(images_of(package)), Samples.read(package).answers
    assert len(expected) == 10
    np.testing.assert_allclose(program(images).detach(), expected, atol=1e-4)
    np.testing.assert_allclose(program(images[3:4]).detach(), expected[3:4], atol=1e-4)


def python_model(package: Path) -> Any:
    """The module that Triton's python backend imports, from the package."""
    specification = importlib.util.spec_from_file_location("model", package / VERSION / "model.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_model_of_the_python_backend_answers_as_recorded(packaged: Packaged) -> None:
    package = packaged("triton-python", "table")
    samples, manifest = Samples.read(package), read_package(package)
    model = python_model(package)
    feed = {each.name: tensor([row[each.name] for row in samples.rows], each) for each in manifest.inputs}
    for name in ("carrier", "origin"):
        in_bytes = np.array([each.encode() for each in feed[name][:, 0]], dtype=np.object_).reshape(-1, 1)
        feed[name] = model.texts(in_bytes)
    answers = model.load(package / VERSION)(feed)
    np.testing.assert_allclose(answers[:, 0], samples.probabilities, atol=1e-6)
