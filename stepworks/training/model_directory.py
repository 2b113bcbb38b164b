"""A trained model as a folder: which builders made it and its rows, with which settings, and its weights.

The folder holds `model.json`, `model.safetensors` and, where there is a transform, its `transform.json`; nothing in it
runs code when it is read.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from stepworks.data.transform_parameters import FILE_NAME as TRANSFORM_FILE
from stepworks.data.transform_parameters import TransformParameters
from stepworks.errors import ConfigurationError, NotFoundError, ResourceError, TrainingError
from stepworks.files import write_atomically
from stepworks.reference import resolve

MODEL_FILE = "model.json"
WEIGHTS_FILE = "model.safetensors"
BUILT_IN_DATA = "stepworks.training.tabular:read_rows"


class ModelFile(BaseModel):
    """What `model.json` holds.

    Attributes:
        format: The version of this layout.
        model: The reference of the model builder.
        data: The reference of the data builder, whose rows the model takes.
        settings: The keyword arguments that the model builder was called with.
        data_settings: Those of the data builder, with which the rows are read again.
        inputs: The names of the inputs that it was given beside them; they are not in the folder.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    model: str
    data: str
    settings: dict[str, Any]
    data_settings: dict[str, Any]
    inputs: tuple[str, ...] = ()


def save_model(
    directory: Path,
    weights: Mapping[str, torch.Tensor],
    transform: TransformParameters | None,
    reference: str,
    settings: dict[str, Any],
    data: str,
    *,
    data_settings: dict[str, Any],
    inputs: Sequence[str] = (),
) -> None:
    """Write a model folder. `model.json` is written last: a folder without it is not a model.

    Args:
        directory: Where; made when missing, replaced when it holds a model.
        weights: The trained weights and buffers by name, as `state_dict` gives them.
        transform: What its features went through; None where the builders take no transform.
        reference: The model builder, `package.module:name`.
        settings: The keyword arguments of the model builder, as JSON can hold them.
        data: The data builder, `package.module:name`.
        data_settings: The keyword arguments of the data builder, as JSON can hold them.
        inputs: The names of the inputs that the model builder was given, as `base_model`.

    Raises:
        ResourceError: The disk is full, or the folder is not writable.
    """
    shutil.rmtree(directory, ignore_errors=True)
    try:
        directory.mkdir(parents=True)
        save_file(_unshared(weights), directory / WEIGHTS_FILE)
    except (OSError, SafetensorError) as error:  # safetensors has one class of its own for all that the disk says
        raise ResourceError(
            f"Cannot write the model to {directory}",
            received=f"{type(error).__name__}: {error}",
            expected="a writable folder with free space",
            what_to_do="Free space, or correct the permission, and run again: training is done, and the model is "
            "written from the checkpoint.",
        ) from error
    if transform is not None:
        transform.write(directory)
    description = ModelFile(
        model=reference, data=data, settings=settings, data_settings=data_settings, inputs=tuple(inputs)
    )
    write_atomically(directory / MODEL_FILE, description.model_dump_json(indent=1).encode())


def _unshared(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights on the CPU, each with memory of its own.

    Two names for one tensor, as of a language model whose head is its embedding, cannot be written: each gets a copy.
    """
    whole: dict[str, torch.Tensor] = {}
    taken: set[int] = set()
    for name, tensor in weights.items():
        own = tensor.detach().cpu().contiguous()
        if own.untyped_storage().data_ptr() in taken:
            own = own.clone()
        taken.add(own.untyped_storage().data_ptr())
        whole[name] = own
    return whole


def read_model_file(directory: Path) -> ModelFile:
    """Read `model.json` from a model folder.

    Raises:
        NotFoundError: The folder holds no model.
        TrainingError: The file does not say what a model is made of.
    """
    path = directory / MODEL_FILE
    if not path.is_file():
        raise NotFoundError(
            f"There is no model in {directory}",
            received=_content(directory),
            expected=f"{MODEL_FILE} and {WEIGHTS_FILE}",
            what_to_do="Give the model folder that the train step wrote.",
        )
    try:
        return ModelFile.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise _cannot_be_loaded(directory, error) from error


def load_model(directory: Path, inputs: Mapping[str, str | Path] | None = None) -> torch.nn.Module:
    """Build a saved model again, with its weights, in evaluation mode on the CPU.

    Args:
        directory: A model folder.
        inputs: What the model builder was given in training beside its settings, by name: the `base_model` of a
            language model. It gives the layers, and the folder all weights.

    Raises:
        NotFoundError: The folder holds no model.
        TrainingError: The weights are torn or do not fit the model.
        ConfigurationError: The builder does not import, or an input is missing.
    """
    description = read_model_file(directory)
    given = dict(inputs or {})
    missing = [name for name in description.inputs if name not in given]
    if missing:
        raise ConfigurationError(
            f"The model in {directory} was built from inputs that are not in its folder",
            received=f"the inputs {', '.join(given) or '(none)'}",
            expected=", ".join(description.inputs),
            what_to_do=f"Give load_model inputs={{'{missing[0]}': …}}, with what the train step got by that name.",
        )
    builder = resolve(description.model, role="model")
    try:
        transform = [TransformParameters.read(directory)] if (directory / TRANSFORM_FILE).is_file() else []
        module: torch.nn.Module = builder(*transform, **{**description.settings, **given})
        module.load_state_dict(load_file(directory / WEIGHTS_FILE))
    except (SafetensorError, OSError, RuntimeError, TypeError) as error:
        raise _cannot_be_loaded(directory, error) from error
    return module.eval()


def _content(directory: Path) -> str:
    try:
        return ", ".join(sorted(path.name for path in directory.iterdir())) or "an empty folder"
    except OSError as error:
        return error.strerror or str(error)


def _cannot_be_loaded(directory: Path, error: Exception) -> TrainingError:
    return TrainingError(
        f"The model in {directory} cannot be loaded",
        received=" ".join(f"{type(error).__name__}: {error}".split()[:40]),  # torch lists every weight
        expected=f"a {MODEL_FILE} of this library version, and weights that fit the builder and its settings",
        what_to_do="Train again, or use the library version that wrote the model.",
    )
