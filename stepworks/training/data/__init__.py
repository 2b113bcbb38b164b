"""Samples, their order, and how they are read ahead."""

import torch

from stepworks.training.data.samples import Inputs as Inputs
from stepworks.training.data.samples import Samples

Rows = Samples


def epoch_order(rows: int, *, seed: int, epoch: int) -> torch.Tensor:
    """The order of the rows in one epoch: a pure function of seed and epoch, so a resumed run sees the same."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(rows, generator=generator)
