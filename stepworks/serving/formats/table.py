"""Which formats there are, and which model gets into which."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from stepworks.errors import ConfigurationError, ServingError
from stepworks.serving.formats import onnxruntime, torchserve, triton
from stepworks.serving.formats.kserve import SERVED
from stepworks.serving.formats.sources import Kind, Source
from stepworks.serving.manifest import ONNXRUNTIME

Writer = Callable[[Source, Path], None]
"""Writes what the format's server reads of a model into a package's folder."""

WRITERS: Mapping[str, Mapping[Kind, Writer]] = {
    ONNXRUNTIME: {"table": onnxruntime.write},
    "triton": {"table": triton.write_onnx, "images": triton.write_onnx},
    "triton-torchscript": {"images": triton.write_torchscript},
    "triton-python": {"table": triton.write_python_onnx, "images": triton.write_python_export},
    "torchserve": {"table": torchserve.write, "images": torchserve.write},
}
"""The formats that a model of the built-in trainers gets into, by what the model takes."""

_NAMES: Mapping[Kind, str] = {"table": "a table", "images": "images", "texts": "texts"}
_ELSEWHERE = {
    "huggingface": "package_language_model",
    "sklearn": "package_estimator",
    "xgboost": "package_estimator",
    "lightgbm": "package_estimator",
}
"""The formats of other models, and what packages those."""


def writer(format: str, kind: Kind) -> Writer:  # noqa: A002  # its name in the manifest
    """What writes a model of a kind in a format.

    Raises:
        ConfigurationError: There is no such format.
        ServingError: The model has no way into it.
    """
    if format not in SERVED:
        raise ConfigurationError(
            f"There is no format {format}",
            received=format,
            expected=", ".join(SERVED),
            what_to_do="Give one of these formats.",
        )
    found = WRITERS.get(format, {}).get(kind)
    if found is None:
        ways = [name for name, kinds in WRITERS.items() if kind in kinds]
        own = f"; this is packaged by {_ELSEWHERE[format]}" if format in _ELSEWHERE else ""
        raise ServingError(
            f"A model of {_NAMES[kind]} cannot be packaged for {format}",
            received=f"the format {format}{own}",
            expected=", ".join(ways) or "huggingface, by package_language_model",
            what_to_do="Give one of the formats that are expected.",
        )
    return found
