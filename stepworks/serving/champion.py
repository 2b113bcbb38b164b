"""What the version that serves answers to rows, for comparing a candidate with it."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from stepworks.evaluation.compare import champion_reference
from stepworks.registry.registry import Registry
from stepworks.serving.predict import predict_package


def champion_predictions(registry: str | Path, model_name: str, table: Path, target: str) -> dict[str, pl.DataFrame]:
    """Predict every row of a raw table with the champion.

    Args:
        registry: The registry's folder, which may lie below the mount path of a claim.
        model_name: The model's name in the registry.
        table: A parquet file with `row_id`, the raw feature columns and the target.
        target: The target's column.

    Returns:
        The predictions by the champion's name as a reference (`champion 3`), as `compare` takes them; empty when
        the model has no champion.

    Raises:
        NotFoundError: The champion's version, or the table, is gone.
        ServingError: The champion's package was changed or cannot be loaded.
        DataError: The table cannot be read, or lacks a column.
    """
    champion = Registry(registry).champion(model_name)
    if champion is None:
        return {}
    return {champion_reference(champion.version): predict_package(champion.directory, table, target)}
