"""What the training loops are compared on: rows in memory, layers of one width."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from stepworks.training.data.samples import Inputs
from stepworks.training.spec import CheckpointSettings, LoopSettings, ParallelSettings, TrainingSpec

WIDTH = 64


class Rows:
    """Random rows in memory."""

    def __init__(self, count: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.features = torch.randn(count, WIDTH, generator=generator)
        self.targets = (self.features[:, 0] > 0).float()

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, indices: torch.Tensor) -> tuple[Inputs, torch.Tensor]:
        """The rows at some places."""
        return (self.features[indices],), self.targets[indices]

    def fingerprint(self) -> str:
        """The same for the same number of rows."""
        return str(len(self))


class Model(nn.Module):
    """Layers of one width."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Linear(WIDTH, width)]
        for _ in range(depth):
            layers += [nn.ReLU(), nn.Linear(width, width)]
        self.layers = nn.Sequential(*layers, nn.ReLU(), nn.Linear(width, 1))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """One logit a row."""
        logits: torch.Tensor = self.layers(features).squeeze(-1)
        return logits

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The mean cross-entropy."""
        return nn.functional.binary_cross_entropy_with_logits(outputs, targets)


def build_model(*, width: int, depth: int) -> Model:
    """The model builder."""
    return Model(width, depth)


def read_rows(path: Path) -> Rows:
    """The data builder: the file holds how many."""
    return Rows(int(path.read_text()))


@dataclass(frozen=True)
class Case:
    """What is trained."""

    name: str
    width: int
    depth: int
    batch_size: int
    steps: int

    def spec(self, epochs: int, rows_file: Path, checkpoints: CheckpointSettings) -> TrainingSpec:
        """What our loop is told."""
        return TrainingSpec(
            model="benchmarks.train_case:build_model",
            data="benchmarks.train_case:read_rows",
            model_settings={"width": self.width, "depth": self.depth},
            inputs={"train": str(rows_file)},
            loop=LoopSettings(epochs=epochs, batch_size=self.batch_size, patience=None),
            parallel=ParallelSettings(deterministic=False),
            checkpoints=checkpoints,
            log_every_steps=100,
        )
