"""Metrics of a binary classifier, with intervals by a stratified bootstrap.

A resample draws as many positives from the positives, and as many negatives from the negatives, as there are: the
share of positives stays fixed, so an interval says how a metric varies over rows, at this share. Instead of copying
rows, each row gets the count of times it was drawn; the rows are sorted by score once, and every metric of every
resample is then a cumulative sum or a product over those counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stepworks.errors import ParameterError
from stepworks.evaluation.predictions import Booleans, Floats
from stepworks.report.documents import Metric

# Rows times resamples held at once; as many counts as fit into a core's second-level cache are the fastest.
_CELLS_AT_ONCE = 400_000


@dataclass(frozen=True)
class BootstrapSettings:
    """How intervals are drawn.

    Attributes:
        resamples: How many times the rows are drawn anew.
        confidence: The share of resamples between an interval's ends (percentile interval).
        seed: The seed of the draws.
    """

    resamples: int = 500
    confidence: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        if self.resamples < 2 or not 0 < self.confidence < 1:
            raise ParameterError(
                "No interval can be drawn by these settings",
                received=f"resamples={self.resamples}, confidence={self.confidence}",
                expected="at least 2 resamples and a confidence between 0 and 1",
                what_to_do="Correct the settings.",
            )


_HIGHER_IS_BETTER = {
    "auc": True,
    "average_precision": True,
    "log_loss": False,
    "brier_score": False,
    "accuracy": True,
}


def metrics_with_intervals(
    positive: Booleans, probability: Floats, threshold: float, settings: BootstrapSettings
) -> list[Metric]:
    """Compute AUC, average precision, log loss, Brier score and accuracy.

    Args:
        positive: Whether a row is of the class 1, of shape [rows]; both classes are there.
        probability: The predicted probability of the class 1, of shape [rows].
        threshold: Rows with at least this probability are decided for the class 1; accuracy depends on it.
        settings: How intervals are drawn.

    Returns:
        The metrics, AUC first, each with its percentile interval. Average precision is the sum of precision times
        the step in recall, without interpolation, as scikit-learn defines it.
    """
    rows = _SortedRows.of(positive, probability, threshold)
    values = rows.metrics(np.ones((1, positive.size)))[0]
    drawn = np.concatenate([rows.metrics(counts) for counts in _resamples(rows.positive, settings)])
    tail = (1 - settings.confidence) / 2
    lows, highs = np.quantile(drawn, [tail, 1 - tail], axis=0)
    return [
        Metric(
            name=name,
            value=float(value),
            low=float(low),
            high=float(high),
            confidence=settings.confidence,
            higher_is_better=higher_is_better,
        )
        for (name, higher_is_better), value, low, high in zip(
            _HIGHER_IS_BETTER.items(), values, lows, highs, strict=True
        )
    ]


@dataclass(frozen=True)
class _SortedRows:
    """Rows by falling score.

    Attributes:
        positive: Whether a row is of the class 1, of shape [rows].
        ends: The last row of each run of equal scores, of shape [distinct scores].
        losses: Log loss, Brier score and accuracy of each row, of shape [rows, 3].
    """

    positive: Booleans
    ends: npt.NDArray[np.intp]
    losses: Floats

    @classmethod
    def of(cls, positive: Booleans, probability: Floats, threshold: float) -> _SortedRows:
        order = np.argsort(-probability, kind="stable")
        positive, probability = positive[order], probability[order]
        ends = np.append(np.flatnonzero(np.diff(probability)), probability.size - 1)
        # A certain and wrong prediction has an infinite loss; it is bounded as scikit-learn does.
        epsilon = np.finfo(np.float64).eps
        told = np.clip(np.where(positive, probability, 1 - probability), epsilon, 1.0)
        losses = np.column_stack([-np.log(told), (probability - positive) ** 2, (probability >= threshold) == positive])
        return cls(positive, ends, losses)

    def metrics(self, counts: Floats) -> Floats:
        """The five metrics of each resample.

        Args:
            counts: How often each row was drawn, of shape [resamples, rows].

        Returns:
            The metrics in the order of `_HIGHER_IS_BETTER`, of shape [resamples, 5].
        """
        drawn = np.cumsum(counts, axis=1)[:, self.ends]
        true_positives = np.cumsum(counts * self.positive, axis=1)[:, self.ends]
        positives, rows = true_positives[:, -1], drawn[:, -1]
        gained = np.diff(true_positives, axis=1, prepend=0)
        # Precision where nothing was drawn yet does not matter: nothing is gained there either.
        precision = true_positives / np.maximum(drawn, 1)
        average_precision = np.sum(gained * precision, axis=1) / positives
        # A pair of a negative and a positive counts one where the positive has the higher score, a half where both
        # have the same one.
        false_positives = np.diff(drawn - true_positives, axis=1, prepend=0)
        area = np.sum(false_positives * (true_positives - gained / 2), axis=1)
        auc = area / (positives * (rows - positives))
        return np.column_stack([auc, average_precision, counts @ self.losses / rows[:, None]])


def _resamples(positive: Booleans, settings: BootstrapSettings) -> Iterator[Floats]:
    """Draw the counts of all resamples, as blocks of shape [resamples, rows]."""
    strata = [np.flatnonzero(positive), np.flatnonzero(~positive)]
    # One for each stratum: its draws follow one another, whatever the size of the blocks.
    generators = [np.random.default_rng(seed) for seed in np.random.SeedSequence(settings.seed).spawn(len(strata))]
    block = max(1, _CELLS_AT_ONCE // positive.size)
    for first in range(0, settings.resamples, block):
        resamples = min(block, settings.resamples - first)
        counts = np.empty((resamples, positive.size))
        for stratum, generator in zip(strata, generators, strict=True):
            drawn = generator.integers(stratum.size, size=(resamples, stratum.size))
            drawn += np.arange(resamples)[:, None] * stratum.size
            counts[:, stratum] = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)
        yield counts
