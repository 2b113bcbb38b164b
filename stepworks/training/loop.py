"""Our training loop: epochs over rows, early stop on the validation AUC, a checkpoint after each epoch."""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from stepworks.errors import ConfigurationError, TrainingError
from stepworks.report.documents import Epoch
from stepworks.training.checkpoint import CheckpointStore
from stepworks.training.data import Inputs, Rows, epoch_order

logger = logging.getLogger(__name__)

VALIDATION_ROWS_AT_ONCE = 16_384


@dataclass(frozen=True)
class LoopSettings:
    """How to train.

    Attributes:
        epochs: The most passes over the training rows.
        batch_size: Rows an optimizer step; the last, smaller batch of an epoch is left out.
        learning_rate: The peak of a one-cycle schedule.
        weight_decay: AdamW's decoupled weight decay.
        patience: Epochs without a better validation AUC before training stops.
        seed: The seed of the weights, the dropout and the order of the rows.
        device: `cpu`, `cuda`, or `auto` for a GPU when there is one.
    """

    epochs: int = 20
    batch_size: int = 2048
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    patience: int = 4
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "learning_rate", "patience"):
            if not getattr(self, name) > 0:
                raise ConfigurationError(
                    f"The training setting {name} is out of range",
                    received=str(getattr(self, name)),
                    expected="a number above zero",
                    what_to_do=f"Correct the parameter {name}.",
                )

    def torch_device(self) -> torch.device:
        """The device to train on.

        Raises:
            ConfigurationError: `cuda` is asked for and there is none, or the name is unknown.
        """
        name = ("cuda" if torch.cuda.is_available() else "cpu") if self.device == "auto" else self.device
        if name == "cuda" and not torch.cuda.is_available():
            raise ConfigurationError(
                "Training is to run on CUDA, and there is no CUDA device",
                received="device: cuda",
                expected="a GPU in the step's pod",
                what_to_do="Give the step a GPU placement, or set device to cpu or auto.",
            )
        if name not in ("cpu", "cuda"):
            raise ConfigurationError(
                "The training setting device is unknown", received=repr(self.device), expected="auto, cpu or cuda"
            )
        return torch.device(name)


@dataclass
class _Progress:
    """What a checkpoint keeps beside model, optimizer and schedule."""

    epochs: list[Epoch]
    best_auc: float
    best_epoch: int
    best_weights: dict[str, torch.Tensor]


@dataclass(frozen=True)
class LoopResult:
    """The course of training. The module holds the weights of `best_epoch` when the loop returns."""

    epochs: list[Epoch]
    best_epoch: int
    stopped_by: str
    resumed_from_epoch: int | None


def seed_everything(seed: int) -> None:
    """Seed python's and torch's generators, before the model is built."""
    random.seed(seed)
    torch.manual_seed(seed)


class TrainingLoop:
    """One training run: resumes from the newest checkpoint, and commits one after each epoch.

    Args:
        module: The model; its `loss(outputs, targets)` gives a scalar.
        train: The rows to train on.
        validation: The rows to choose the best epoch by.
        settings: How to train.
        checkpoints: Where the run's state is kept.
    """

    def __init__(
        self, module: nn.Module, train: Rows, validation: Rows, settings: LoopSettings, checkpoints: CheckpointStore
    ) -> None:
        self.settings = settings
        self.device = settings.torch_device()
        self.module = module.to(self.device)
        self.train = train
        self.validation = validation
        self.checkpoints = checkpoints
        self.steps_per_epoch = len(train) // settings.batch_size
        if not self.steps_per_epoch:
            raise ConfigurationError(
                "The batch is larger than the training data",
                received=f"batch_size {settings.batch_size}, {len(train)} rows",
                expected="a batch_size of at most the number of rows",
                what_to_do="Lower batch_size, or give more data.",
            )
        self.optimizer = torch.optim.AdamW(
            module.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, settings.learning_rate, total_steps=settings.epochs * self.steps_per_epoch, pct_start=0.2
        )
        self.progress = _Progress([], -math.inf, 0, {})

    def run(self, on_epoch: Callable[[Epoch], None] | None = None) -> LoopResult:
        """Train to the last epoch or the early stop; leaves the best weights in the module.

        Raises:
            TrainingError: The loss is not a finite scalar.
            CheckpointError: The checkpoints are of another run, or none is complete.
            ResourceError: A checkpoint cannot be written.
        """
        resumed_from = self._resume()
        stopped_by = "early_stop" if self._out_of_patience() else "epochs"
        while len(self.progress.epochs) < self.settings.epochs and stopped_by != "early_stop":
            epoch = self._run_epoch(len(self.progress.epochs) + 1)
            self.checkpoints.save(epoch.epoch * self.steps_per_epoch, self._state())
            if on_epoch:
                on_epoch(epoch)
            if self._out_of_patience():
                stopped_by = "early_stop"
        self.module.load_state_dict(self.progress.best_weights)
        return LoopResult(self.progress.epochs, self.progress.best_epoch, stopped_by, resumed_from)

    def _out_of_patience(self) -> bool:
        return len(self.progress.epochs) - self.progress.best_epoch >= self.settings.patience

    def _run_epoch(self, epoch: int) -> Epoch:
        started = time.monotonic()
        train_loss = self._train_epoch(epoch)
        training_seconds = time.monotonic() - started
        validation_loss, auc = self._validate()
        if auc > self.progress.best_auc:
            self.progress.best_auc, self.progress.best_epoch = auc, epoch
            self.progress.best_weights = {k: v.detach().cpu().clone() for k, v in self.module.state_dict().items()}
        record = Epoch(
            epoch=epoch,
            train_loss=train_loss,
            validation_loss=validation_loss,
            validation_auc=auc,
            learning_rate=self.schedule.get_last_lr()[0],
            seconds=time.monotonic() - started,
            samples_per_second=self.steps_per_epoch * self.settings.batch_size / training_seconds,
        )
        self.progress.epochs.append(record)
        return record

    def _train_epoch(self, epoch: int) -> float:
        """Take the epoch's optimizer steps; return the mean loss."""
        self.module.train()
        order = epoch_order(len(self.train), seed=self.settings.seed, epoch=epoch)
        total = torch.zeros((), device=self.device)
        for step in range(self.steps_per_epoch):
            batch = order[step * self.settings.batch_size : (step + 1) * self.settings.batch_size]
            inputs, targets = self._on_device(*self.train.take(batch))
            loss = self._loss(self.module(*inputs), targets)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
            self.optimizer.step()
            self.schedule.step()
            total += loss.detach()
        mean = float(total) / self.steps_per_epoch
        if not math.isfinite(mean):
            raise TrainingError(
                f"The training loss is not finite in epoch {epoch}",
                received=str(mean),
                expected="a finite loss",
                what_to_do="Lower learning_rate, or look for extreme values in the data profile.",
            )
        return mean

    def _validate(self) -> tuple[float, float]:
        self.module.eval()
        total, scores, labels = 0.0, [], []
        with torch.inference_mode():
            for indices in torch.split(torch.arange(len(self.validation)), VALIDATION_ROWS_AT_ONCE):
                inputs, targets = self._on_device(*self.validation.take(indices))
                outputs = self.module(*inputs)
                total += float(self._loss(outputs, targets)) * len(indices)
                scores.append(outputs.float().cpu())
                labels.append(targets.cpu())
        return total / len(self.validation), area_under_curve(torch.cat(scores), torch.cat(labels))

    def _loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        loss: torch.Tensor = self.module.loss(outputs, targets)  # type: ignore[operator]
        if loss.ndim:
            raise TrainingError(
                "The model's loss is not a scalar",
                received=f"a tensor of shape {tuple(loss.shape)}",
                expected="one number",
                what_to_do="Reduce the loss with mean() in the model's loss method.",
            )
        return loss

    def _on_device(self, inputs: Inputs, targets: torch.Tensor) -> tuple[Inputs, torch.Tensor]:
        return tuple(tensor.to(self.device) for tensor in inputs), targets.to(self.device)

    def _state(self) -> dict[str, Any]:
        return {
            "model": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "torch_rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
            "epochs": [epoch.model_dump() for epoch in self.progress.epochs],
            "best_auc": self.progress.best_auc,
            "best_epoch": self.progress.best_epoch,
            "best_weights": self.progress.best_weights,
        }

    def _resume(self) -> int | None:
        """Take up the newest checkpoint; return the number of epochs that it had, or None."""
        newest = self.checkpoints.load_newest()
        if newest is None:
            return None
        _, state = newest
        self.module.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(state["torch_rng"])
        if state["cuda_rng"] is not None and self.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda_rng"], self.device)
        epochs = [Epoch(**epoch) for epoch in state["epochs"]]
        self.progress = _Progress(epochs, state["best_auc"], state["best_epoch"], state["best_weights"])
        logger.info("Resumed after epoch %d", len(epochs))
        return len(epochs)


def area_under_curve(scores: torch.Tensor, labels: torch.Tensor) -> float:
    """The area under the ROC curve as the Mann-Whitney U statistic over its greatest value; ties count one half.

    Args:
        scores: float of shape [rows]; higher means more likely positive.
        labels: 0 and 1, of shape [rows].

    Raises:
        TrainingError: A class is absent.
    """
    positives = int(labels.sum())
    negatives = len(labels) - positives
    if not positives or not negatives:
        raise TrainingError(
            "The validation rows have one class only",
            received=f"{positives} positive and {negatives} negative rows",
            expected="both classes",
            what_to_do="Choose the validation rows so that both classes are in them.",
        )
    _, inverse, counts = torch.unique(scores.double(), return_inverse=True, return_counts=True)
    last_rank = counts.cumsum(0).double()
    mean_rank = last_rank - (counts.double() - 1) / 2
    rank_sum = float(mean_rank[inverse][labels.bool()].sum())
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)
