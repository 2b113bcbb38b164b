"""Answers of a trained model, offline."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import torch

from stepworks.data.transform_parameters import TransformParameters
from stepworks.training.model_directory import load_model
from stepworks.training.tabular import read_rows

ROWS_AT_ONCE = 16_384


def predict(model_directory: Path, features: Path) -> pl.DataFrame:
    """Predict every row of an encoded table.

    Args:
        model_directory: A model folder that the train step wrote.
        features: An output of transform_table made with this model's transform.

    Returns:
        A frame of `row_id` (UInt32), `target` (Int8) and `probability` (Float64), in the table's order.

    Raises:
        NotFoundError: There is no model.
        DataError: The table does not fit the model.
    """
    module = load_model(model_directory)
    rows = read_rows(features, TransformParameters.read(model_directory))
    with torch.inference_mode():
        logits = torch.cat(
            [module(*rows.take(indices)[0]) for indices in torch.split(torch.arange(len(rows)), ROWS_AT_ONCE)]
        )
    return pl.DataFrame(
        {
            "row_id": pl.read_parquet(features, columns=["row_id"])["row_id"],
            "target": rows.target.to(torch.int8).numpy(),
            "probability": torch.sigmoid(logits.double()).numpy(),
        }
    )
