"""The built-in trainer for tables: a network over standardised numbers and embedded categories, and its data."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import torch
from torch import nn

from stepworks.data.transform_parameters import TransformParameters
from stepworks.errors import DataError, TrainingError
from stepworks.training.data.labels import refuse_other_labels
from stepworks.training.data.samples import Inputs, Samples


class TabularNetwork(nn.Module):
    """A multilayer perceptron over numbers and embedded categories, with one logit a row.

    Args:
        numeric: The number of numeric features.
        cardinalities: For each categorical feature, the number of its codes; code 0 is missing or unseen.
        hidden: The widths of the hidden layers.
        dropout: The share of hidden units dropped in training.
        embedding_dropout: The share of categories replaced by code 0 in training, so that the network learns
            what to do with a category that it has never seen.
    """

    def __init__(
        self,
        numeric: int,
        cardinalities: Sequence[int],
        *,
        hidden: Sequence[int] = (256, 128),
        dropout: float = 0.3,
        embedding_dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if not numeric and not cardinalities:
            raise TrainingError(
                "The model has no features",
                received="0 numeric and 0 categorical features",
                expected="at least one column with the role feature",
                what_to_do="Give a column the role feature in the data contract.",
            )
        self.embedding_dropout = embedding_dropout
        widths = [min(24, max(2, round(1.6 * count**0.5))) for count in cardinalities]
        self.embeddings = nn.ModuleList(
            nn.Embedding(count, width) for count, width in zip(cardinalities, widths, strict=True)
        )
        layers: list[nn.Module] = []
        width = numeric + sum(widths)
        for size in hidden:
            layers += [nn.Linear(width, size), nn.LayerNorm(size), nn.SiLU(), nn.Dropout(dropout)]
            width = size
        self.layers = nn.Sequential(*layers, nn.Linear(width, 1))

    def forward(self, numeric: torch.Tensor, categorical: torch.Tensor) -> torch.Tensor:
        """Return logits.

        Args:
            numeric: float32 of shape [rows, numeric features], standardised.
            categorical: int64 of shape [rows, categorical features], codes.

        Returns:
            float32 of shape [rows].
        """
        if self.training and self.embedding_dropout:
            kept = torch.rand_like(categorical, dtype=torch.float32) >= self.embedding_dropout
            categorical = categorical * kept
        embedded = [embedding(categorical[:, index]) for index, embedding in enumerate(self.embeddings)]
        logits: torch.Tensor = self.layers(torch.cat([numeric, *embedded], dim=1))
        return logits.squeeze(1)

    @staticmethod
    def loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Mean binary cross-entropy of logits and 0/1 targets, both of shape [rows]."""
        return nn.functional.binary_cross_entropy_with_logits(logits, target)


def build_model(
    transform: TransformParameters,
    *,
    hidden: Sequence[int] = (256, 128),
    dropout: float = 0.3,
    embedding_dropout: float = 0.1,
) -> TabularNetwork:
    """Build the network that fits a transform (a model builder of the training contract)."""
    return TabularNetwork(
        len(transform.numeric),
        [len(feature.values) + 1 for feature in transform.categorical],
        hidden=hidden,
        dropout=dropout,
        embedding_dropout=embedding_dropout,
    )


@dataclass(frozen=True)
class TabularRows:
    """Encoded rows in memory: float32 `numeric`, int64 `categorical`, float32 `target` of 0 and 1."""

    numeric: torch.Tensor
    categorical: torch.Tensor
    target: torch.Tensor

    def __len__(self) -> int:
        return len(self.target)

    def take(self, indices: torch.Tensor) -> tuple[Inputs, torch.Tensor]:
        """The inputs and targets of the rows at `indices`."""
        return (self.numeric[indices], self.categorical[indices]), self.target[indices]

    def fingerprint(self) -> str:
        """A digest of all three tensors."""
        digest = hashlib.sha256()
        for tensor in (self.numeric, self.categorical, self.target):
            digest.update(str(tuple(tensor.shape)).encode())
            digest.update(tensor.contiguous().numpy().data)
        return digest.hexdigest()


def read_rows(features: Path, transform: TransformParameters) -> TabularRows:
    """Read a table that `transform_table` encoded into memory (a data builder of the training contract).

    Raises:
        DataError: The file is not readable, lacks a feature, is empty, a feature has a missing value, or a target is
            not 0 or 1.
    """
    numeric = [feature.name for feature in transform.numeric]
    categorical = [feature.name for feature in transform.categorical]
    try:
        table = pl.read_parquet(features, columns=[*numeric, *categorical, transform.target])
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(
            f"Cannot read the encoded table {features}",
            received=str(error).partition("\n")[0],  # polars adds its whole plan
            expected=f"a parquet file with the columns {', '.join([*numeric, *categorical, transform.target])}",
            what_to_do="Give an output of transform_table that was made with this transform.",
        ) from error
    if table.is_empty() or any(table.null_count().row(0)):
        raise DataError(
            f"The encoded table {features} cannot be trained on",
            received=f"{table.height} rows, {sum(table.null_count().row(0))} missing values",
            expected="at least one row and no missing value",
            what_to_do="Look at the validation results of the table, and transform it again.",
        )
    target = table[transform.target].to_numpy().astype("float32")
    refuse_other_labels(target, 2, f"The column {transform.target} of {features}")
    return TabularRows(
        numeric=torch.from_numpy(table.select(numeric).to_numpy().astype("float32")).reshape(table.height, -1),
        categorical=torch.from_numpy(table.select(categorical).to_numpy().astype("int64")).reshape(table.height, -1),
        target=torch.from_numpy(target),
    )


def stream_rows(features: Path, transform: TransformParameters) -> Samples:
    """As `read_rows`, of a table that is larger than the memory: a few row groups are in memory at a time.

    Raises:
        NotFoundError: There is no such file.
        DataError: The file is not Parquet, lacks a feature or is empty. A missing value or a target that is
            not 0 or 1 is told when it is read.
    """
    from stepworks.training.data.parquet import Columns, ParquetSamples

    return ParquetSamples(
        features,
        inputs=[
            Columns([feature.name for feature in transform.numeric], torch.float32),
            Columns([feature.name for feature in transform.categorical], torch.int64),
        ],
        targets=Columns(transform.target, torch.float32, classes=2),
    )
