"""The first optimizer step, and when it was made: the barest script that makes one, and the model of ours.

It imports nothing of Kubeflow Pipelines, so that a process that trains has nothing to import for being measured.
"""

import os
import time
from pathlib import Path

import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from benchmarks.train_case import Model
from benchmarks.train_case import build_model as build_case

FIRST_STEP = "BENCH_FIRST_STEP"
"""Names the file into which the time of the first step is written."""


def build_model(**settings: int) -> Model:
    """The model of ours; the time of its first step is written down as that of the barest script is."""
    register_optimizer_step_post_hook(lambda *_: _tell())
    return build_case(**settings)


def main() -> None:
    """One step of the same model, and nothing that it does not need."""
    layers = [nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(64, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    features, targets = torch.randn(256, 64), torch.ones(256)
    nn.functional.binary_cross_entropy_with_logits(model(features).squeeze(-1), targets).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    _tell()


def _tell() -> None:
    told = Path(os.environ[FIRST_STEP])
    if not told.exists():
        told.write_text(repr(time.time()))


if __name__ == "__main__":
    main()
