"""A network alone as an ONNX graph."""

from __future__ import annotations

import inspect
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import onnx
import torch

from stepworks.errors import ServingError

OPSET = 18
IR_VERSION = 9
"""Old enough for every ONNX Runtime since 1.17, and for the servers that embed one."""


def export_network(
    network: torch.nn.Module, example: tuple[torch.Tensor, ...], inputs: Sequence[str], output: str
) -> onnx.ModelProto:
    """Export a network of tensors of which the first dimension are rows.

    The TorchScript exporter is deprecated, but takes 0.2 CPU seconds here; the one built on `torch.export` takes
    7, imports included, for the same graph, and writes paths of this machine into it.

    Args:
        network: In evaluation mode, with one tensor as its answer.
        example: Two rows of each input.
        inputs: The names of the inputs.
        output: The name of the answer.

    Raises:
        ServingError: The network takes other inputs, or has an operator that ONNX has not.
    """
    require_forward(network, example, inputs)
    try:
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            path = Path(folder) / "network.onnx"
            torch.onnx.export(
                network,
                example,
                path,
                dynamo=False,
                opset_version=OPSET,
                input_names=list(inputs),
                output_names=[output],
                dynamic_axes={name: {0: "rows"} for name in (*inputs, output)},
            )
            return onnx.load(path)
    except Exception as error:
        raise cannot_be_exported("ONNX", error, inputs, output) from error


def require_forward(network: torch.nn.Module, example: tuple[torch.Tensor, ...], inputs: Sequence[str]) -> None:
    """Refuse a network that does not take these inputs.

    Raises:
        ServingError: Its `forward` takes others.
    """
    try:
        inspect.signature(network.forward).bind(*example)
    except TypeError as error:
        raise ServingError(
            "The network does not take what the package gives it",
            received=f"forward{inspect.signature(network.forward)}",
            expected=f"forward({', '.join(inputs)})",
            what_to_do="Give the model's forward these arguments, or serve the model by a server of its own.",
        ) from error


def cannot_be_exported(what: str, error: Exception, inputs: Sequence[str], output: str) -> ServingError:
    """The error of a network that has an operator which the target has not."""
    return ServingError(
        f"The network cannot be exported to {what}",
        received=f"{type(error).__name__}: {error}",
        expected=f"a module of forward({', '.join(inputs)}) -> {output}, made of operators that {what} has",
        what_to_do="Replace the operator that the message names.",
    )
