"""How good a model is on rows it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stepworks.data.tables import read_table
from stepworks.errors import ParameterError
from stepworks.evaluation.bootstrap import BootstrapSettings, metrics_with_intervals
from stepworks.evaluation.curves import (
    calibration_bins,
    confusion,
    expected_calibration_error,
    precision_recall,
    roc,
)
from stepworks.evaluation.predictions import outcomes_of, read_predictions
from stepworks.evaluation.slices import slices_of
from stepworks.report.documents import EvaluationDocument


@dataclass(frozen=True)
class EvaluationSettings:
    """How an evaluation is made.

    Attributes:
        threshold: Rows with at least this probability are decided for the class 1.
        calibration_bins: The groups of rows that calibration is computed by.
        bootstrap: How the intervals of the metrics are drawn.
    """

    threshold: float = 0.5
    calibration_bins: int = 10
    bootstrap: BootstrapSettings = field(default_factory=BootstrapSettings)

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1 or self.calibration_bins < 2:
            raise ParameterError(
                "No evaluation can be made by these settings",
                received=f"threshold={self.threshold}, calibration_bins={self.calibration_bins}",
                expected="a threshold from 0 to 1 and at least 2 bins",
                what_to_do="Correct the settings.",
            )


DEFAULT_SETTINGS = EvaluationSettings()


def evaluate(
    predictions: Path,
    test: Path | None = None,
    slice_columns: Sequence[str] = (),
    settings: EvaluationSettings = DEFAULT_SETTINGS,
) -> EvaluationDocument:
    """Evaluate predictions.

    Args:
        predictions: A Parquet file of `row_id` (UInt32), `target` (Int8) and `probability` (Float64).
        test: The raw rows that were predicted; needed for slices only.
        slice_columns: The columns of `test` to slice by.
        settings: How the evaluation is made.

    Raises:
        NotFoundError: A file is missing.
        DataError: A file is not a table.
        EvaluationError: No metric can be computed from the predictions, or they are not of the rows of `test`.
        ParameterError: Slices are asked for and `test` is not given.
    """
    checked = read_predictions(predictions)
    positive, probability = outcomes_of(checked)
    confidence = settings.bootstrap.confidence
    bins = calibration_bins(positive, probability, settings.calibration_bins)
    if slice_columns and test is None:
        raise ParameterError(
            "There is no table to slice",
            received=f"slice columns {', '.join(slice_columns)} and no test table",
            expected="the table that was predicted",
            what_to_do="Give the test table, or no slice columns.",
        )
    slices = slices_of(checked, read_table(test), slice_columns, confidence) if test and slice_columns else []
    return EvaluationDocument(
        rows=checked.height,
        positives=int(positive.sum()),
        metrics=metrics_with_intervals(positive, probability, settings.threshold, settings.bootstrap),
        slices=slices,
        calibration=bins,
        expected_calibration_error=expected_calibration_error(bins),
        roc=roc(positive, probability),
        precision_recall=precision_recall(positive, probability),
        confusion=confusion(positive, probability, settings.threshold),
    )
