"""What a data builder returns: samples that the loop can take in any order."""

from __future__ import annotations

from typing import Protocol

import torch

Inputs = tuple[torch.Tensor, ...]
"""The model's inputs, one tensor an argument of `forward`; the first dimension is the batch."""


class Samples(Protocol):
    """Samples of a data set, taken by index, so that their order can be a pure function of seed and epoch.

    `take` is called by several threads at once, and must not draw from the global random generators: what is random
    belongs into the model, whose generators a checkpoint keeps.

    Samples that are read from files may have an attribute `block_sizes`, a sequence of integers: the lengths of the
    runs of samples that are cheap to read together, as the row groups of Parquet. Their order then goes through a few
    blocks at a time. Without it, any sample may follow any other.

    Samples whose targets are class numbers may have an attribute `classes`, how many there are. A model whose last
    dimension of logits is smaller is then refused before training.

    For a table, the sample at index i is its i-th row: predictions are put beside the table's `row_id` by position.
    """

    def __len__(self) -> int:
        """The number of samples."""
        ...

    def take(self, indices: torch.Tensor) -> tuple[Inputs, torch.Tensor]:
        """The inputs and the targets of the samples at `indices` (int64, one dimension), in that order, on the CPU."""
        ...

    def fingerprint(self) -> str:
        """A digest of the content; a checkpoint is not resumed on other data."""
        ...
