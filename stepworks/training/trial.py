"""Trying a model on two rows, so that builders that do not fit each other are told before the first epoch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from stepworks.errors import ConfigurationError
from stepworks.training.data import Inputs, Rows

_ROWS = 2


def try_model(module: torch.nn.Module, rows: Rows, device: torch.device, *, model: str, data: str) -> None:
    """Ask a model for two rows and for the loss of its answer, and leave the random generators as they were.

    Args:
        module: The model; it is moved to the device.
        rows: The rows that it is to train on.
        device: Where it is to train.
        model: The reference of the model builder, for messages.
        data: The reference of the data builder, for messages.

    Raises:
        ConfigurationError: The data builder's rows cannot be taken, or the model does not fit them; the message
            says what `forward` or `loss` received, and what it said or gave.
    """
    inputs, targets = _take(rows, data)
    inputs = tuple(tensor.to(device) for tensor in inputs)
    targets = targets.to(device)
    module.to(device).eval()
    # No inference mode: what a lazy layer makes of its first rows has to be trainable.
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), torch.no_grad():
        outputs = _call(module, inputs, "forward", model)
        if not (isinstance(outputs, torch.Tensor) and outputs.is_floating_point() and outputs.shape == targets.shape):
            raise _misfit(
                model,
                f"forward, given {_described(inputs)}, returned {_described([outputs])}",
                f"one logit a row, a float tensor of shape {tuple(targets.shape)}",
            )
        _call(module.loss, (outputs, targets), "loss", model)  # type: ignore[arg-type]  # a method, not a submodule


def _take(rows: Rows, data: str) -> tuple[Inputs, torch.Tensor]:
    try:
        indices = torch.arange(min(_ROWS, len(rows)))
        inputs, targets = rows.take(indices)
    except Exception as error:
        raise _no_rows(data, f"{type(error).__name__}: {error}") from error
    if not isinstance(inputs, tuple) or not all(isinstance(each, torch.Tensor) for each in (*inputs, targets)):
        raise _no_rows(data, f"take returned {_described([inputs, targets])}")
    if targets.shape != indices.shape:
        raise _no_rows(data, f"take of {len(indices)} rows returned targets {_described([targets])}")
    return inputs, targets


def _no_rows(data: str, received: str) -> ConfigurationError:
    return ConfigurationError(
        f"The data builder {data} does not return rows",
        received=received,
        expected="an object with len(), fingerprint() and take(indices); take returns a tuple of tensors, the "
        "arguments of the model's forward, and a tensor of targets, one a row",
        what_to_do="Return such rows from the data builder; stepworks.training.data.Rows describes them.",
    )


def _call(function: Callable[..., Any], arguments: Inputs, name: str, model: str) -> Any:
    try:
        return function(*arguments)
    except Exception as error:
        raise _misfit(
            model,
            f"{name}, given {_described(arguments)}, said {type(error).__name__}: {error}",
            f"a {name} that takes these",
        ) from error


def _misfit(model: str, received: str, expected: str) -> ConfigurationError:
    return ConfigurationError(
        f"The model of {model} does not fit the rows",
        received=received,
        expected=expected,
        what_to_do="Make model builder and data builder agree: forward takes what the rows' take returns.",
    )


def _described(values: Any) -> str:
    """Tensors by type and shape, in parentheses: `(float32 [2, 5], int64 [2, 3])`."""
    words = (
        f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
        if isinstance(value, torch.Tensor)
        else type(value).__name__
        for value in values
    )
    return f"({', '.join(words)})"
