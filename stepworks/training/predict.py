"""Answers of a trained model, offline."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import torch

from stepworks.data.columns import ROW_ID
from stepworks.data.tables import read_table
from stepworks.data.transform_parameters import TransformParameters
from stepworks.errors import DataError, EvaluationError
from stepworks.reference import build
from stepworks.training.data.samples import Samples
from stepworks.training.model_directory import load_model, read_model_file

ROWS_AT_ONCE = 16_384


def predict(model_directory: Path, features: Path) -> pl.DataFrame:
    """Predict every row of an encoded table.

    Args:
        model_directory: A model folder that the train step wrote; it names the data builder that reads the table,
            and its settings.
        features: An output of transform_table made with this model's transform.

    Returns:
        A frame of `row_id` (UInt32), `target` (Int8) and `probability` (Float64), in the table's order.

    Raises:
        NotFoundError: There is no model or no table.
        ConfigurationError: A builder does not import.
        DataError: The table does not fit the model.
        EvaluationError: The model does not give one logit a row.
    """
    module = load_model(model_directory)
    description = read_model_file(model_directory)
    row_ids = read_table(features, [ROW_ID])[ROW_ID]
    transform = TransformParameters.read(model_directory)
    rows: Samples = build(description.data, features, transform, role="data", settings=description.data_settings)
    if len(rows) != len(row_ids):
        raise DataError(
            "The data builder does not give the rows of the table",
            received=f"{len(rows)} rows of {description.data}, {len(row_ids)} rows in {features}",
            expected="each row of the table once, in its order",
            what_to_do="Keep every row in the data builder; rows are left out in the data contract.",
        )
    logits, targets = [], []
    with torch.inference_mode():
        for indices in torch.split(torch.arange(len(rows)), ROWS_AT_ONCE):
            inputs, target = rows.take(indices)
            outputs = module(*inputs)
            if outputs.shape != indices.shape or target.shape != indices.shape:
                raise _not_one_logit(model_directory, outputs, target, len(indices))
            logits.append(outputs)
            targets.append(target)
    return pl.DataFrame(
        {
            ROW_ID: row_ids,
            "target": torch.cat(targets).to(torch.int8).numpy(),
            "probability": torch.sigmoid(torch.cat(logits).double()).numpy(),
        }
    )


def _not_one_logit(model_directory: Path, outputs: torch.Tensor, targets: torch.Tensor, rows: int) -> EvaluationError:
    return EvaluationError(
        f"The model {model_directory} is not one that decides between two classes",
        received=f"outputs of shape {tuple(outputs.shape)} and targets of shape {tuple(targets.shape)} for {rows} rows",
        expected=f"one logit and one target a row, each of shape ({rows},)",
        what_to_do="Predict with the model's own code; this is for tables with a target of 0 and 1.",
    )
