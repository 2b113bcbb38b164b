"""A small model and its data, with faults that a test asks for in the environment.

A fault is `<what>@<where>:<number>[:<rank>]`: what happens when the process is for that time at that place. The places
are `train` and `validate` (a forward pass; DDP's first one is none of a step, and a trial is a validation), `take` and
`build` (of the samples), and operations on the files of checkpoints, with a pattern of the path: `open step-.*distcp`.
Several are separated by `;`.
"""

import hashlib
import json
import os
import re
import resource
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import nn

FAULTS = "STEPWORKS_TEST_FAULTS"

_visits: Counter[str] = Counter()


def visit(place: str) -> str:
    """Count a visit, and do what is asked for there; what the caller has to do itself is returned."""
    _visits[place] += 1
    asked = ""
    for fault in filter(None, os.environ.get(FAULTS, "").split(";")):
        what, _, where = fault.partition("@")
        name, number, *rank = where.split(":")
        if name == place and int(number) == _visits[place] and (not rank or rank[0] == os.environ.get("RANK", "0")):
            asked = _happen(what)
    return asked


def _happen(what: str) -> str:
    kind, _, amount = what.partition(" ")
    if kind in ("KILL", "TERM", "STOP"):
        os.kill(os.getpid(), getattr(signal, f"SIG{kind}"))
    elif kind == "sleep":
        time.sleep(float(amount))
    elif kind == "raise":
        raise ValueError("the fault that was asked for")
    elif kind == "full":
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(amount), resource.RLIM_INFINITY))
    return kind


def _watch_files() -> None:
    places = {fault.partition("@")[2].split(":")[0] for fault in os.environ.get(FAULTS, "").split(";") if " " in fault}
    places = {place for place in places if " " in place}
    if not places:
        return

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("open", "os.rename", "shutil.rmtree") and "checkpoints" in str(arguments[0]):
            for place in places:
                kind, _, part = place.partition(" ")
                if kind == event and any(re.search(part, str(argument)) for argument in arguments[:2]):
                    visit(place)

    sys.addaudithook(hook)


class Small(nn.Module):
    """Two blocks with dropout, and a squared error."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.Tanh(), nn.Dropout(dropout)) for _ in range(2)
        )
        self.head = nn.Linear(8, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        asked = visit("train" if self.training else "validate")
        for block in self.blocks:
            features = block(features)
        result: torch.Tensor = self.head(features).squeeze(1)
        return result * float("nan") if asked == "nan" else result

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return nn.functional.mse_loss(outputs.float(), targets)


def build_model(*, dropout: float = 0.2, freeze: bool = False) -> Small:
    model = Small(dropout)
    model.blocks[0].requires_grad_(not freeze)
    return model


class SmallSamples:
    """Samples with a signal, as the file says: `{"samples": 60, "seed": 1}`."""

    def __init__(self, path: Path) -> None:
        self._content = path.read_bytes()
        settings = json.loads(self._content)
        generator = torch.Generator().manual_seed(settings["seed"])
        self.features = torch.randn(settings["samples"], 8, generator=generator)
        self.targets = (self.features * torch.arange(8)).sum(1).tanh()

    def __len__(self) -> int:
        return len(self.features)

    def take(self, indices: torch.Tensor) -> tuple[tuple[torch.Tensor], torch.Tensor]:
        visit("take")
        return (self.features[indices],), self.targets[indices]

    def fingerprint(self) -> str:
        return hashlib.sha256(self._content).hexdigest()


def read_samples(path: Path) -> SmallSamples:
    _watch_files()
    visit("build")
    return SmallSamples(path)
