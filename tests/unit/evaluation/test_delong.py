import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from stepworks.evaluation.bootstrap import BootstrapSettings, metrics_with_intervals
from stepworks.evaluation.delong import auc_covariance, auc_difference, auc_interval
from stepworks.evaluation.predictions import outcomes_of


def test_the_covariance_is_that_of_the_definition() -> None:
    """Against all pairs of a positive and a negative, ties counted as a half."""
    random = np.random.default_rng(1)
    positive = random.random(60) < 0.4
    scores = random.normal(size=(2, 60)).round(1) + positive
    pairs = scores[:, positive][:, :, None] - scores[:, ~positive][:, None, :]
    wins = (pairs > 0) + 0.5 * (pairs == 0)
    expected = np.cov(wins.mean(axis=2)) / positive.sum() + np.cov(wins.mean(axis=1)) / (~positive).sum()

    areas, covariance = auc_covariance(positive, scores)

    assert areas == pytest.approx([roc_auc_score(positive, row) for row in scores])
    assert covariance == pytest.approx(expected)


def test_the_interval_agrees_with_the_bootstrap(predictions: pl.DataFrame) -> None:
    positive, probability = outcomes_of(predictions)
    drawn = metrics_with_intervals(positive, probability, 0.5, BootstrapSettings(resamples=1000))[0]

    interval = auc_interval(positive, probability, 0.95)

    assert interval.value == pytest.approx(drawn.value)
    width = interval.high - interval.low
    assert interval.low == pytest.approx(drawn.low, abs=0.1 * width)
    assert interval.high == pytest.approx(drawn.high, abs=0.1 * width)


def test_the_difference_agrees_with_a_paired_bootstrap(predictions: pl.DataFrame) -> None:
    positive, candidate = outcomes_of(predictions[:800])
    random = np.random.default_rng(8)
    reference = candidate + random.normal(scale=0.1, size=candidate.size)
    drawn = []
    for _ in range(300):
        rows = np.concatenate([random.choice(np.flatnonzero(side), size=side.sum()) for side in (positive, ~positive)])
        drawn.append(roc_auc_score(positive[rows], candidate[rows]) - roc_auc_score(positive[rows], reference[rows]))
    low, high = np.quantile(drawn, [0.025, 0.975])

    interval = auc_difference(positive, candidate, reference, 0.95)

    assert interval.low == pytest.approx(low, abs=0.15 * (high - low))
    assert interval.high == pytest.approx(high, abs=0.15 * (high - low))


def test_equal_predictions_differ_by_nothing(predictions: pl.DataFrame) -> None:
    positive, probability = outcomes_of(predictions)
    interval = auc_difference(positive, probability, probability, 0.95)
    assert (interval.low, interval.value, interval.high) == (0, 0, 0)


@pytest.mark.parametrize(
    ("positive", "probability", "area"),
    [
        ([True, False, False], [0.5, 0.5, 0.2], 0.75),
        ([True, True, False], [0.9, 0.1, 0.2], 0.5),
        ([True, True, False, False], [0.9, 0.8, 0.2, 0.1], 1.0),
    ],
)
def test_where_rows_say_nothing_about_the_variance_there_is_no_interval(
    positive: list[bool], probability: list[float], area: float
) -> None:
    interval = auc_interval(np.array(positive), np.array(probability), 0.95)
    assert (interval.value, interval.low, interval.high) == (area, None, None)


def test_a_difference_of_three_rows_has_no_interval() -> None:
    positive = np.array([True, False, False])
    interval = auc_difference(positive, np.array([0.9, 0.1, 0.2]), np.array([0.15, 0.1, 0.2]), 0.95)
    assert (interval.value, interval.low, interval.high) == (0.5, None, None)
