"""Compare a model with the historical rate and with the champion."""

from kfp.dsl import Artifact, Dataset, Input, Output

from stepworks.kubeflow.component import component


@component("serving")
def compare(
    predictions: Input[Dataset],
    train: Input[Dataset],
    test: Input[Dataset],
    target: str,
    baseline_keys: list[str],
    model_name: str,
    registry: str,
    comparison: Output[Artifact],
) -> None:
    """Compare the AUC of a model with the historical rate's and the champion's, paired by row.

    Args:
        predictions: The model's predictions of the test rows.
        train: The raw training rows, which the historical rate is taken from.
        test: The raw test rows.
        target: The column of the outcome.
        baseline_keys: Columns or SQL expressions to group the historical rate by, the broadest first.
        model_name: The model's name in the registry.
        registry: The folder of the registry.
        comparison: The comparison document.
    """
    from pathlib import Path

    from stepworks.evaluation.baseline import historical_rate
    from stepworks.evaluation.compare import BASELINE, compare
    from stepworks.evaluation.predictions import read_predictions
    from stepworks.serving.champion import champion_predictions

    rows = Path(test.path)
    references = {BASELINE: historical_rate(Path(train.path), rows, baseline_keys, target)}
    references |= champion_predictions(registry, model_name, rows, target)
    compare(read_predictions(Path(predictions.path)), references).write(comparison.path)
