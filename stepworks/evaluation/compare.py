"""A candidate against what it has to be better than, on the same rows."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from stepworks.data.columns import ROW_ID
from stepworks.errors import EvaluationError
from stepworks.evaluation.delong import auc_difference, auc_interval
from stepworks.evaluation.predictions import check_predictions, outcomes_of
from stepworks.report.documents import Comparison, ComparisonDocument

BASELINE = "historical rate"
"""The reference that a candidate has to be ahead of."""

_CHAMPION = "champion"


def champion_reference(version: int | str) -> str:
    """The name of the champion among the references."""
    return f"{_CHAMPION} {version}"


def is_champion(reference: str) -> bool:
    """Whether a reference is the champion."""
    return reference.startswith(f"{_CHAMPION} ")


def compare(
    candidate: pl.DataFrame, references: Mapping[str, pl.DataFrame], confidence: float = 0.95
) -> ComparisonDocument:
    """Compare the AUC of a candidate with that of each reference, paired by row.

    Args:
        candidate: The candidate's predictions.
        references: Predictions of the same rows, by the name of what made them.
        confidence: The confidence of the intervals, which are DeLong's (see `stepworks.evaluation.delong`).

    Raises:
        EvaluationError: Predictions are not usable, or not of the same rows with the same targets.
    """
    candidate = check_predictions(candidate, "The candidate's predictions")
    return ComparisonDocument(
        comparisons=[
            _compare(candidate, check_predictions(reference, f"The predictions of the {name}"), name, confidence)
            for name, reference in references.items()
        ]
    )


def _compare(candidate: pl.DataFrame, reference: pl.DataFrame, name: str, confidence: float) -> Comparison:
    paired = candidate.join(reference, on=ROW_ID, how="inner", suffix="_reference", maintain_order="left")
    if not paired.height == candidate.height == reference.height:
        raise _not_comparable(
            name,
            f"{candidate.height} rows of the candidate, {reference.height} of the reference, {paired.height} in both",
            f"the same {ROW_ID} in both",
        )
    disagreeing = paired.filter(pl.col("target") != pl.col("target_reference"))
    if not disagreeing.is_empty():
        raise _not_comparable(
            name,
            f"{disagreeing.height} rows with two targets, the first with row_id {disagreeing[ROW_ID][0]}",
            "the same target in both",
        )
    positive, ours = outcomes_of(paired)
    theirs = paired["probability_reference"].to_numpy()
    return Comparison(
        reference=name,
        metric="auc",
        candidate_value=auc_interval(positive, ours, confidence).value,
        reference_value=auc_interval(positive, theirs, confidence).value,
        difference=auc_difference(positive, ours, theirs, confidence),
        rows=paired.height,
    )


def _not_comparable(name: str, received: str, expected: str) -> EvaluationError:
    return EvaluationError(
        f"The candidate and the {name} were not asked about the same rows",
        received=received,
        expected=expected,
        what_to_do="Predict the same test table with both.",
    )
