"""Train a model from builder references, and leave a model folder and the course of training."""

from __future__ import annotations

import json
import logging
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from stepworks.data.transform_parameters import TransformParameters
from stepworks.errors import ConfigurationError
from stepworks.report.documents import Epoch, TrainingDocument
from stepworks.training.checkpoint import CheckpointStore
from stepworks.training.loop import LoopSettings, TrainingLoop, seed_everything
from stepworks.training.model_directory import save_model
from stepworks.training.reference import build, resolve
from stepworks.training.trial import try_model

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingSpec:
    """What to train: the builder form of the training contract.

    Attributes:
        model: `package.module:name`, called with the transform and `model_settings`; returns a torch module.
        data: `package.module:name`, called with a features file and the transform; returns rows.
        model_settings: Keyword arguments of the model builder.
        loop: How to train.
    """

    model: str
    data: str
    model_settings: dict[str, Any] = field(default_factory=dict)
    loop: LoopSettings = field(default_factory=LoopSettings)


def train(
    spec: TrainingSpec, *, train: Path, validation: Path, transform: Path, checkpoints: Path, model_directory: Path
) -> TrainingDocument:
    """Train, or resume training, and write the best model.

    Args:
        spec: What to train.
        train: The features file to train on.
        validation: The features file to choose the best epoch by.
        transform: The folder with the transform's parameters.
        checkpoints: The run's own checkpoint folder; a later attempt that gives the same folder resumes.
        model_directory: Where the model folder is written.

    Raises:
        ConfigurationError: A reference or a setting is wrong, or the model does not fit the rows; told before the
            first epoch.
        DataError: A features file cannot be read.
        TrainingError: Training cannot go on.
    """
    parameters = TransformParameters.read(transform)
    resolve(spec.model, role="model")  # A wrong name is told before a large table is read.
    train_rows, validation_rows = (build(spec.data, part, parameters, role="data") for part in (train, validation))
    seed_everything(spec.loop.seed)
    module = _build_model(spec, parameters)
    try_model(module, train_rows, spec.loop.torch_device(), model=spec.model, data=spec.data)
    identity = {
        "model": spec.model,
        "model_settings": json.dumps(spec.model_settings, sort_keys=True),
        "loop": json.dumps(asdict(spec.loop), sort_keys=True),
        "train": train_rows.fingerprint(),
        "validation": validation_rows.fingerprint(),
    }
    loop = TrainingLoop(module, train_rows, validation_rows, spec.loop, CheckpointStore(checkpoints, identity))
    logger.info("Training %s on %s: %d rows", spec.model, loop.device, len(train_rows))
    result = loop.run(on_epoch=_log_epoch)
    save_model(model_directory, module, parameters, spec.model, spec.model_settings, spec.data)
    return TrainingDocument(
        model=spec.model,
        device=torch.cuda.get_device_name() if loop.device.type == "cuda" else "cpu",
        parameters=sum(math.prod(parameter.shape) for parameter in module.parameters()),
        epochs=result.epochs,
        best_epoch=result.best_epoch,
        stopped_by="early_stop" if result.stopped_by == "early_stop" else "epochs",
        resumed_from_epoch=result.resumed_from_epoch,
        settings={key: str(value) for key, value in {**asdict(spec.loop), **spec.model_settings}.items()},
    )


def _build_model(spec: TrainingSpec, parameters: TransformParameters) -> torch.nn.Module:
    module = build(spec.model, parameters, role="model", settings=spec.model_settings)
    if not isinstance(module, torch.nn.Module) or not callable(getattr(module, "loss", None)):
        raise ConfigurationError(
            f"The model builder {spec.model} did not return a model",
            received=type(module).__name__,
            expected="a torch.nn.Module with a method loss(outputs, targets)",
            what_to_do="Return the module from the builder.",
        )
    return module


def _log_epoch(epoch: Epoch) -> None:
    logger.info(
        "epoch %2d  train loss %.4f  validation loss %.4f  validation AUC %.4f  %.1f s  %.0f rows/s",
        epoch.epoch,
        epoch.train_loss,
        epoch.validation_loss,
        epoch.validation_auc,
        epoch.seconds,
        epoch.samples_per_second,
    )
