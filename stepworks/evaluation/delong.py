"""The variance of the area under the ROC curve, and of the difference between two, without resampling.

The estimate is that of E. R. DeLong, D. M. DeLong and D. L. Clarke-Pearson, "Comparing the areas under two or more
correlated receiver operating characteristic curves: a nonparametric approach", Biometrics 44 (1988), 837-845,
computed from midranks as X. Sun and W. Xu show in "Fast implementation of DeLong's algorithm for comparing the areas
under correlated receiver operating characteristic curves", IEEE Signal Processing Letters 21 (2014), 1389-1393.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit, logit
from scipy.stats import norm, rankdata

from stepworks.evaluation.predictions import Booleans, Floats
from stepworks.report.document import Interval


def auc_covariance(positive: Booleans, scores: Floats) -> tuple[Floats, Floats]:
    """Estimate areas under ROC curves and their covariance.

    Args:
        positive: Whether a row is of the class 1, of shape [rows]; two rows of each class at least.
        scores: The scores of `models` models for the same rows, of shape [models, rows].

    Returns:
        The areas, of shape [models], and their covariance, of shape [models, models].
    """
    positives, negatives = int(positive.sum()), int((~positive).sum())
    in_all = rankdata(scores, axis=1)
    among_positives = rankdata(scores[:, positive], axis=1)
    among_negatives = rankdata(scores[:, ~positive], axis=1)
    # For each positive, the share of negatives below it; for each negative, the share of positives above it.
    below = (in_all[:, positive] - among_positives) / negatives
    above = 1 - (in_all[:, ~positive] - among_negatives) / positives
    covariance = np.atleast_2d(np.cov(below)) / positives + np.atleast_2d(np.cov(above)) / negatives
    return below.mean(axis=1), covariance


def auc_interval(positive: Booleans, probability: Floats, confidence: float) -> Interval:
    """The area under the ROC curve with its interval.

    The interval is symmetric on the logit scale, so that it stays between 0 and 1 with few rows too. It is missing
    where the rows say nothing about the variance: a class has less than two rows, or the area is 0 or 1.

    Args:
        positive: Whether a row is of the class 1, of shape [rows]; both classes are there.
        probability: The predicted probability of the class 1, of shape [rows].
        confidence: The confidence of the interval, between 0 and 1.
    """
    if not enough_rows(positive):
        ranks = rankdata(probability)[positive]
        positives = ranks.size
        area = (ranks.sum() - positives * (positives + 1) / 2) / (positives * (positive.size - positives))
        return Interval(value=float(area), confidence=confidence)
    areas, covariance = auc_covariance(positive, probability[None, :])
    area, deviation = float(areas[0]), float(np.sqrt(covariance[0, 0]))
    if not 0 < area < 1:
        return Interval(value=area, confidence=confidence)
    half = norm.ppf(0.5 + confidence / 2) * deviation / (area * (1 - area))
    low, high = expit(logit(area) - half), expit(logit(area) + half)
    return Interval(value=area, low=float(low), high=float(high), confidence=confidence)


def auc_difference(positive: Booleans, candidate: Floats, reference: Floats, confidence: float) -> Interval:
    """The area of a candidate minus that of a reference on the same rows, with its normal interval.

    The interval is missing where a class has less than two rows.

    Args:
        positive: Whether a row is of the class 1, of shape [rows]; both classes are there.
        candidate: The candidate's probabilities, of shape [rows].
        reference: The reference's probabilities, of shape [rows].
        confidence: The confidence of the interval, between 0 and 1.
    """
    if not enough_rows(positive):
        difference = (
            auc_interval(positive, candidate, confidence).value - auc_interval(positive, reference, confidence).value
        )
        return Interval(value=difference, confidence=confidence)
    areas, covariance = auc_covariance(positive, np.stack([candidate, reference]))
    difference = float(areas[0] - areas[1])
    # Rounding can make the variance of equal predictions a little negative.
    variance = max(0.0, float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]))
    half = float(norm.ppf(0.5 + confidence / 2) * np.sqrt(variance))
    return Interval(value=difference, low=difference - half, high=difference + half, confidence=confidence)


def enough_rows(positive: Booleans) -> bool:
    """Whether there are two rows of each class, as a variance needs."""
    return 2 <= int(positive.sum()) <= positive.size - 2
