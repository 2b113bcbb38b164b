"""What a data builder returns: rows that the loop can take in any order."""

from __future__ import annotations

from typing import Protocol

import torch

Inputs = tuple[torch.Tensor, ...]
"""The model's inputs, one tensor an argument of `forward`; the first dimension is the batch."""


class Rows(Protocol):
    """Rows of a data set, taken by index, so that their order can be a pure function of seed and epoch.

    The row at index i is the i-th row of the table that the data builder was given: predictions are put beside the
    table's `row_id` by position.
    """

    def __len__(self) -> int:
        """The number of rows."""
        ...

    def take(self, indices: torch.Tensor) -> tuple[Inputs, torch.Tensor]:
        """The inputs and the targets, 0 and 1 of shape [rows], of the rows at `indices` (int64, one dimension)."""
        ...

    def fingerprint(self) -> str:
        """A digest of the content; a checkpoint is not resumed on other data."""
        ...


def epoch_order(rows: int, *, seed: int, epoch: int) -> torch.Tensor:
    """The order of the rows in one epoch: a pure function of seed and epoch, so a resumed run sees the same."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(rows, generator=generator)
