"""A network as a program of PyTorch that runs without its source: TorchScript, or what `torch.export` writes."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence

import torch

from stepworks.serving.manifest import InputTensor
from stepworks.serving.onnx_export import cannot_be_exported, require_forward

_TYPES = {"FP32": torch.float32, "INT64": torch.int64, "UINT8": torch.uint8}


def example_of(inputs: Sequence[InputTensor]) -> tuple[torch.Tensor, ...]:
    """Two rows of zeros for each input."""
    return tuple(torch.zeros(2, *each.shape, dtype=_TYPES[each.datatype]) for each in inputs)


def torchscript(network: torch.nn.Module, example: tuple[torch.Tensor, ...], inputs: Sequence[str]) -> bytes:
    """Trace a network to TorchScript, with any number of rows.

    Args:
        network: In evaluation mode.
        example: Two rows of each input.
        inputs: The names of the inputs.

    Raises:
        ServingError: The network takes other inputs, or cannot be traced.
    """
    require_forward(network, example, inputs)
    buffer = io.BytesIO()
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # It is deprecated, and what the servers of TorchScript read.
            program = torch.jit.trace(network, example, check_trace=False)  # type: ignore[no-untyped-call]
            torch.jit.save(program, buffer)
    except Exception as error:
        raise cannot_be_exported("TorchScript", error, inputs, "one tensor") from error
    return buffer.getvalue()


def exported_program(network: torch.nn.Module, example: tuple[torch.Tensor, ...], inputs: Sequence[str]) -> bytes:
    """Export a network by `torch.export`, with any number of rows.

    Args:
        network: In evaluation mode.
        example: Two rows of each input.
        inputs: The names of the inputs.

    Raises:
        ServingError: The network takes other inputs, or cannot be exported.
    """
    require_forward(network, example, inputs)
    rows = torch.export.Dim.DYNAMIC
    buffer = io.BytesIO()
    try:
        with torch.no_grad():
            program = torch.export.export(network, example, dynamic_shapes=tuple({0: rows} for _ in example))
            torch.export.save(program, buffer)
    except Exception as error:
        raise cannot_be_exported("torch.export", error, inputs, "one tensor") from error
    return buffer.getvalue()
