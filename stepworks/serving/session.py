"""A package's graph in memory: the runtime's session over it, and raw rows as its inputs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from stepworks.errors import ServingError
from stepworks.serving.manifest import MODEL_FILE, ONNXRUNTIME, Manifest, Row, read_package, require_format
from stepworks.serving.tensors import tensor


def load_session(package: Path, threads: int = 1) -> Any:
    """An ONNX Runtime session over the package's graph, on the CPU.

    Args:
        package: A verified package's folder.
        threads: How many threads one request may use; 0 lets ONNX Runtime choose.

    Raises:
        ServingError: The graph cannot be loaded.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(
            str(package / MODEL_FILE), sess_options=options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        raise ServingError(
            f"The model of the package {package} cannot be loaded",
            received=str(error),
            expected=f"an ONNX graph that ONNX Runtime {onnxruntime.__version__} can run",
            what_to_do="Package the model again with this version of the library.",
        ) from error


def predict_rows(package: Path, rows: Sequence[Row]) -> list[float]:
    """Predict raw rows in memory.

    Raises:
        NotFoundError: There is no package.
        ServingError: The package was changed, is of another format or cannot be loaded, or a row does not fit it.
    """
    manifest = read_package(package)
    require_format(package, manifest, ONNXRUNTIME, "predict rows with")
    answers = load_session(package).run(None, tensors(manifest, rows))[0]
    return [float(value) for value in answers[:, 0]]


def tensors(manifest: Manifest, rows: Sequence[Row]) -> dict[str, npt.NDArray[Any]]:
    """The graph's inputs for raw rows, by name.

    Raises:
        ServingError: A row lacks a column, or has a value of the wrong type.
    """
    try:
        return {wanted.name: tensor([row[wanted.name] for row in rows], wanted) for wanted in manifest.inputs}
    except (KeyError, TypeError) as error:
        raise ServingError(
            "A row does not fit the model's signature",
            received=f"{type(error).__name__}: {error}",
            expected=", ".join(f"{wanted.name} ({wanted.datatype})" for wanted in manifest.inputs),
            what_to_do="Give every column in every row; None stands for missing.",
        ) from error
