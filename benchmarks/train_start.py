"""From the start of a process to its first optimizer step: ours, and the barest script, launched in the same way.

`python -m benchmarks.train_start bare` is that script; it prints the time of its first step.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

from stepworks.training.metrics import read_metrics
from stepworks.training.spec import TrainingSpec
from stepworks.training.workspace import Workspace


def starts(spec: TrainingSpec, folder: Path, rounds: int) -> tuple[float, float]:
    """The median seconds of ours and of the barest script, in turn, after an uncounted round.

    Args:
        spec: What ours trains; it logs each step.
        folder: Where the workspaces are made.
        rounds: How often each is started.
    """
    ours, bare = [], []
    for number in range(rounds + 1):
        workspace = Workspace(folder / f"start-{number}")
        workspace.make()
        spec.write(workspace.spec)
        began = time.time()
        subprocess.run([sys.executable, "-m", "stepworks.training.worker", workspace.root], check=True, stdout=-3)
        ours.append(next(line["time"] for line in read_metrics(workspace.metrics) if line["kind"] == "step") - began)
        began = time.time()
        told = subprocess.run([sys.executable, "-m", "benchmarks.train_start", "bare"], check=True, stdout=-1)
        bare.append(float(told.stdout) - began)
    return statistics.median(ours[1:]), statistics.median(bare[1:])


def _bare() -> None:
    """One step of the model of `benchmarks.train_case`, and nothing that is not needed for it."""
    import torch
    from torch import nn

    layers = [nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(64, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    features, targets = torch.randn(256, 64), torch.ones(256)
    nn.functional.binary_cross_entropy_with_logits(model(features).squeeze(-1), targets).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    print(time.time())


if __name__ == "__main__":
    if sys.argv[1:] == ["bare"]:
        _bare()
