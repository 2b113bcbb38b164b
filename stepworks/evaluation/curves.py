"""What a single number hides: curves, calibration, the confusion at a threshold."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import precision_recall_curve, roc_curve

from stepworks.evaluation.predictions import Booleans, Floats, plain_floats
from stepworks.report.documents import CalibrationBin, Confusion, Curve

MOST_POINTS = 200


def roc(positive: Booleans, probability: Floats, most_points: int = MOST_POINTS) -> Curve:
    """The ROC curve: `x` is the false positive rate, `y` the true positive rate, thresholds fall.

    Args:
        positive: Whether a row is of the class 1, of shape [rows]; both classes are there.
        probability: The predicted probability of the class 1, of shape [rows].
        most_points: Where the curve has more points, those at about equal distances along it are kept.
    """
    false_positive_rate, true_positive_rate, thresholds = roc_curve(positive, probability)
    # Its first threshold is infinite: nothing is decided for the class 1. A document holds finite numbers only.
    return _thinned(false_positive_rate, true_positive_rate, _finite(thresholds), most_points)


def precision_recall(positive: Booleans, probability: Floats, most_points: int = MOST_POINTS) -> Curve:
    """The precision-recall curve: `x` is the recall, `y` the precision, thresholds fall.

    Args:
        positive: Whether a row is of the class 1, of shape [rows]; both classes are there.
        probability: The predicted probability of the class 1, of shape [rows].
        most_points: Where the curve has more points, those at about equal distances along it are kept.
    """
    precision, recall, thresholds = precision_recall_curve(positive, probability, drop_intermediate=True)
    falling = np.append(np.inf, thresholds[::-1])
    return _thinned(recall[::-1], precision[::-1], _finite(falling), most_points)


def calibration_bins(positive: Booleans, probability: Floats, bins: int = 10) -> list[CalibrationBin]:
    """Group rows of similar prediction, about as many in each group.

    Args:
        positive: Whether a row is of the class 1, of shape [rows].
        probability: The predicted probability of the class 1, of shape [rows].
        bins: The most groups. Rows of the same prediction stay together, so there may be fewer.

    Returns:
        The groups by rising prediction; every row is in one of them.
    """
    inner_edges = np.quantile(probability, np.arange(1, bins) / bins)
    group = np.searchsorted(np.unique(inner_edges), probability, side="right")
    return [
        CalibrationBin(
            mean_predicted=float(probability[group == number].mean()),
            observed_rate=float(positive[group == number].mean()),
            rows=int((group == number).sum()),
        )
        for number in np.unique(group)
    ]


def expected_calibration_error(bins: list[CalibrationBin]) -> float:
    """The mean distance between predicted and observed rate, weighted by rows."""
    rows = sum(group.rows for group in bins)
    return sum(group.rows * abs(group.mean_predicted - group.observed_rate) for group in bins) / rows


def confusion(positive: Booleans, probability: Floats, threshold: float) -> Confusion:
    """Count decisions; rows with at least `threshold` are decided for the class 1."""
    decided = probability >= threshold
    return Confusion(
        threshold=threshold,
        true_positives=int((decided & positive).sum()),
        false_positives=int((decided & ~positive).sum()),
        true_negatives=int((~decided & ~positive).sum()),
        false_negatives=int((~decided & positive).sum()),
    )


def _finite(thresholds: Floats) -> Floats:
    """Put a number above every probability, 1 where that is one, in place of infinity."""
    highest = thresholds[np.isfinite(thresholds)].max()
    above = 1.0 if highest < 1.0 else np.nextafter(1.0, 2.0)
    return np.where(np.isfinite(thresholds), thresholds, above)


def _thinned(x: Floats, y: Floats, thresholds: Floats, most_points: int) -> Curve:
    kept = np.arange(x.size)
    if x.size > most_points:
        along = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
        kept = np.unique(np.searchsorted(along, np.linspace(0.0, along[-1], most_points)))
        kept[-1] = x.size - 1
    return Curve(x=plain_floats(x[kept]), y=plain_floats(y[kept]), thresholds=plain_floats(thresholds[kept]))
