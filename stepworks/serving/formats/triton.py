"""Model repositories of Triton Inference Server.

::

    model/model/config.pbtxt     the signature, and dynamic batching
    model/model/1/model.onnx     or model.pt (TorchScript); or model.py with model.onnx or model.pt2

The inner `model` is the model's name in the server's paths: `/v2/models/model/infer`.
"""

from __future__ import annotations

import json
from pathlib import Path

from stepworks.data.transform_parameters import TransformParameters
from stepworks.files import write_atomically
from stepworks.serving.formats.sources import Source
from stepworks.serving.formats.torch_programs import example_of, exported_program, torchscript
from stepworks.serving.graph import build_graph
from stepworks.serving.manifest import MODEL_FOLDER, InputTensor, OutputTensor
from stepworks.serving.onnx_export import export_network

MODEL_NAME = "model"
MAX_BATCH = 64
QUEUE_MICROSECONDS = 500
"""How long a request waits for others to be batched with: less than what a request takes anyhow."""

_TYPES = {
    "FP32": "TYPE_FP32",
    "FP64": "TYPE_FP64",
    "INT64": "TYPE_INT64",
    "UINT8": "TYPE_UINT8",
    "BYTES": "TYPE_STRING",
}
_PYTHON_MODEL = Path(__file__).with_name("triton_model.py")


def write_onnx(source: Source, package: Path) -> None:
    """Write an ONNX graph for the onnxruntime backend: a table's with its transform inside, or that of images."""
    _write(source, package, "onnxruntime", {"model.onnx": _graph(source)})


def write_torchscript(source: Source, package: Path) -> None:
    """Write TorchScript for the pytorch backend (platform `pytorch_libtorch`)."""
    names = [each.name for each in source.inputs]
    program = torchscript(source.network(), example_of(source.inputs), names)
    _write(source, package, "pytorch", {"model.pt": program}, platform="pytorch_libtorch")


def write_python_onnx(source: Source, package: Path) -> None:
    """Write an ONNX graph and a model of the python backend that runs it, for a Triton without the onnxruntime one."""
    _write(source, package, "python", {"model.onnx": _graph(source), "model.py": _PYTHON_MODEL.read_bytes()})


def write_python_export(source: Source, package: Path) -> None:
    """Write what `torch.export` gives, and a model of the python backend that runs it."""
    names = [each.name for each in source.inputs]
    program = exported_program(source.network(), example_of(source.inputs), names)
    _write(source, package, "python", {"model.pt2": program, "model.py": _PYTHON_MODEL.read_bytes()})


def _graph(source: Source) -> bytes:
    if source.kind == "table":
        graph = build_graph(source.network(), TransformParameters.read(source.directory))
    else:
        names = [each.name for each in source.inputs]
        graph = export_network(source.network(), example_of(source.inputs), names, source.output.name)
    return bytes(graph.SerializeToString(deterministic=True))


def _write(source: Source, package: Path, backend: str, files: dict[str, bytes], platform: str = "") -> None:
    folder = package / MODEL_FOLDER / MODEL_NAME
    for name, content in files.items():
        write_atomically(folder / "1" / name, content)
    config = model_config(MODEL_NAME, backend, source.inputs, source.output, platform=platform)
    write_atomically(folder / "config.pbtxt", config.encode())


def model_config(
    name: str, backend: str, inputs: tuple[InputTensor, ...], output: OutputTensor, *, platform: str = ""
) -> str:
    """The text of a `config.pbtxt`, as Triton's `model_config.proto` defines it.

    The first dimension of each tensor, the rows, is Triton's batch: it is in no `dims`.

    Args:
        name: The model's name, that of its folder.
        backend: The backend: `onnxruntime`, `pytorch` or `python`.
        inputs: The inputs, in the model's order.
        output: The answer.
        platform: The pytorch backend's kind of model.
    """
    lines = [f"name: {_text(name)}", f"backend: {_text(backend)}"]
    if platform:
        lines.append(f"platform: {_text(platform)}")
    lines.append(f"max_batch_size: {MAX_BATCH}")
    lines += [f"input {{ {_tensor(each)} }}" for each in inputs]
    lines.append(f"output {{ {_tensor(output)} }}")
    lines.append(f"dynamic_batching {{ max_queue_delay_microseconds: {QUEUE_MICROSECONDS} }}")
    return "\n".join(lines) + "\n"


def _tensor(tensor: InputTensor | OutputTensor) -> str:
    return f"name: {_text(tensor.name)}, data_type: {_TYPES[tensor.datatype]}, dims: {list(tensor.shape)}"


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)  # protobuf's text format has the same quotes and escapes
