"""The small model on samples that take their time, so that something can happen to training meanwhile."""

import time
from pathlib import Path
from typing import NoReturn

import torch

from tests.training.small import SmallSamples

_TAKE_SECONDS = 0.1


class SlowSamples(SmallSamples):
    """Samples of which each batch takes a tenth of a second."""

    def take(self, indices: torch.Tensor) -> tuple[tuple[torch.Tensor], torch.Tensor]:
        time.sleep(_TAKE_SECONDS)
        return super().take(indices)


def read_samples(path: Path) -> SlowSamples:
    return SlowSamples(path)


def read_nothing(_path: Path) -> NoReturn:
    raise ValueError("there is nothing to read")
