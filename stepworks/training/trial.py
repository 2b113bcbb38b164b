"""Trying a model on two samples, so that builders that do not fit each other are told before the first epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from stepworks.errors import ConfigurationError, StepworksError
from stepworks.training.data.samples import Inputs, Samples
from stepworks.training.machine import is_out_of_memory, refusal
from stepworks.training.validation import AREA_UNDER_CURVE, LOSS

_SAMPLES = 2


def try_model(
    module: torch.nn.Module,
    samples: Samples,
    device: torch.device,
    *,
    model: str,
    data: str,
    monitor: str | None = None,
) -> None:
    """Ask a model for two samples and for the loss of its answer, and leave the random generators as they were.

    Args:
        module: The model; it is moved to the device.
        samples: The samples that it is to train on, or to be validated on.
        device: Where it is to train.
        model: The reference of the model builder, for messages.
        data: The reference of the data builder, for messages.
        monitor: The figure of a validation that is to be computed from these samples; None for no validation.

    Raises:
        ConfigurationError: The data builder's samples cannot be taken, or the model does not fit them; the message
            says what `forward`, `loss` or `figures` received, and what it said or gave. Or nothing computes the figure.
        DataError: The samples are at fault, and say so themselves.
    """
    inputs, targets = _take(samples, data)
    inputs = tuple(tensor.to(device) for tensor in inputs)
    targets = targets.to(device)
    module.to(device).eval()
    # No inference mode: what a lazy layer makes of its first samples has to be trainable.
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), torch.no_grad():
        outputs = _call(module, inputs, "forward", model)
        expected = _expected_outputs(targets)
        if not (isinstance(outputs, torch.Tensor) and outputs.is_floating_point() and _fit(outputs, targets)):
            raise _misfit(model, f"forward, given {_described(inputs)}, returned {_described([outputs])}", expected)
        _check_classes(samples, outputs, model)
        loss = _call(module.loss, (outputs, targets), "loss", model)  # type: ignore[arg-type]  # not a submodule
        if not (isinstance(loss, torch.Tensor) and loss.is_floating_point() and loss.ndim == 0):
            raise _misfit(
                model,
                f"loss, given {_described([outputs, targets])}, returned {_described([loss])}",
                "one number, a float tensor without dimensions: reduce it with mean()",
            )
        if monitor is not None:
            _check_monitor(monitor, _figures(module, outputs, targets, model), outputs, targets)


def _figures(module: torch.nn.Module, outputs: torch.Tensor, targets: torch.Tensor, model: str) -> list[str]:
    """The names of the model's own figures."""
    function = getattr(module, "figures", None)
    if function is None:
        return []
    figures = _call(function, (outputs, targets), "figures", model)
    values = list(figures.values()) if isinstance(figures, Mapping) else [figures]
    if not isinstance(figures, Mapping) or any(
        not isinstance(each, torch.Tensor) or each.shape != targets.shape[:1] for each in values
    ):
        raise _misfit(
            model,
            f"figures, given {_described([outputs, targets])}, returned {_described(values)}",
            f"a dict of tensors of shape [{len(targets)}], one value a sample",
        )
    return [f"validation_{name}" for name in figures]


def _check_monitor(monitor: str, own: list[str], outputs: torch.Tensor, targets: torch.Tensor) -> None:
    """Refuse a figure that a validation does not compute: the first one may be hours away."""
    known = [LOSS, *own]
    if outputs.ndim == 1 and targets.ndim == 1:
        known.append(AREA_UNDER_CURVE)
    if monitor not in known:
        raise ConfigurationError(
            "The figure to choose the best epoch by is not computed",
            received=f"monitor {monitor!r}; {_described([outputs, targets])} are the model's outputs and the targets",
            expected=f"one of {', '.join(known)}",
            what_to_do="Correct the field monitor of loop, or have the model's method figures return it; "
            f"{AREA_UNDER_CURVE} is of models with one logit a sample.",
        )


def _fit(outputs: torch.Tensor, targets: torch.Tensor) -> bool:
    """Whether outputs can be judged by targets.

    Targets that are numbers are compared one by one. A loss would broadcast [2, 1] against [2] to [2, 2] in silence,
    and train on what belongs to other samples.
    """
    return outputs.shape == targets.shape if targets.is_floating_point() else outputs.shape[:1] == targets.shape[:1]


def _check_classes(samples: Samples, outputs: torch.Tensor, model: str) -> None:
    """Refuse targets that the model has no logit for: on a GPU a loss ends the process for them, without a word."""
    classes = getattr(samples, "classes", None)
    if classes is not None and outputs.shape[-1] < classes:
        raise _misfit(
            model,
            f"logits of {outputs.shape[-1]} classes, and targets of {classes} classes",
            f"at least {classes} logits",
        )


def _expected_outputs(targets: torch.Tensor) -> str:
    if not targets.is_floating_point():
        return f"logits, a float tensor whose first dimension is {len(targets)}, one for each sample"
    if targets.ndim == 1:
        return f"one logit a sample, a float tensor of shape {tuple(targets.shape)}"
    return f"a float tensor of the targets' shape {tuple(targets.shape)}"


def _take(samples: Samples, data: str) -> tuple[Inputs, torch.Tensor]:
    try:
        indices = torch.arange(min(_SAMPLES, len(samples)))
        taken = samples.take(indices)
    except StepworksError:
        raise
    except Exception as error:
        if is_out_of_memory(error) or refusal(error):
            raise
        raise _no_samples(data, f"{type(error).__name__}: {error}") from error
    if not (isinstance(taken, tuple) and len(taken) == 2):
        raise _no_samples(data, f"take returned {_described([taken])}")
    inputs, targets = taken
    if not isinstance(inputs, tuple) or not all(isinstance(each, torch.Tensor) for each in (*inputs, targets)):
        raise _no_samples(data, f"take returned {_described([inputs, targets])}")
    if any(each.shape[:1] != indices.shape for each in (*inputs, targets)):
        raise _no_samples(
            data,
            f"take of {len(indices)} samples returned inputs {_described(inputs)} and targets {_described([targets])}",
        )
    return inputs, targets


def _no_samples(data: str, received: str) -> ConfigurationError:
    return ConfigurationError(
        f"The data builder {data} does not return samples",
        received=received,
        expected="an object with len(), fingerprint() and take(indices); take returns a tuple of tensors, the "
        "arguments of the model's forward, and a tensor of targets; the first dimension of each is the samples",
        what_to_do="Return such samples from the data builder; stepworks.training.data.samples.Samples describes them.",
    )


def _call(function: Callable[..., Any], arguments: Inputs, name: str, model: str) -> Any:
    try:
        return function(*arguments)
    except StepworksError:
        raise
    except Exception as error:
        if is_out_of_memory(error) or refusal(error):
            raise
        raise _misfit(
            model,
            f"{name}, given {_described(arguments)}, said {type(error).__name__}: {error}",
            f"a {name} that takes these",
        ) from error


def _misfit(model: str, received: str, expected: str) -> ConfigurationError:
    return ConfigurationError(
        f"The model of {model} does not fit the samples",
        received=received,
        expected=expected,
        what_to_do="Make model builder and data builder agree: forward takes what the samples' take returns.",
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
