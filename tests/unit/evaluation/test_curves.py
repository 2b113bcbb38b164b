import math

import numpy as np
import polars as pl
import pytest
from sklearn import metrics as sk

from stepworks.evaluation.curves import calibration_bins, expected_calibration_error, precision_recall, roc
from stepworks.evaluation.predictions import outcomes_of


def test_a_thinned_roc_curve_has_the_area_of_the_whole_one(predictions: pl.DataFrame) -> None:
    positive, probability = outcomes_of(predictions)

    curve = roc(positive, probability)

    assert len(curve.x) == len(curve.y) == len(curve.thresholds) <= 200
    assert sk.auc(curve.x, curve.y) == pytest.approx(sk.roc_auc_score(positive, probability), abs=0.002)
    assert (curve.x[0], curve.y[0], curve.x[-1], curve.y[-1]) == (0, 0, 1, 1)
    assert all(math.isfinite(threshold) for threshold in curve.thresholds)
    assert sorted(curve.thresholds, reverse=True) == curve.thresholds


def test_each_point_is_what_its_threshold_gives(predictions: pl.DataFrame) -> None:
    positive, probability = outcomes_of(predictions)
    curve = roc(positive, probability)
    for x, y, threshold in zip(curve.x[::20], curve.y[::20], curve.thresholds[::20], strict=True):
        decided = probability >= threshold
        assert (x, y) == pytest.approx((decided[~positive].mean(), decided[positive].mean()))

    curve = precision_recall(positive, probability)
    for x, y, threshold in zip(curve.x[1::20], curve.y[1::20], curve.thresholds[1::20], strict=True):
        decided = probability >= threshold
        assert (x, y) == pytest.approx((decided[positive].mean(), positive[decided].mean()))
    assert (curve.x[0], curve.y[0]) == (0, 1)
    assert len(curve.x) <= 200


def test_a_certain_prediction_keeps_thresholds_finite_and_falling() -> None:
    curve = roc(np.array([True, False, True]), np.array([1.0, 0.2, 0.1]))
    assert curve.thresholds[0] > curve.thresholds[1] == 1.0


def test_bins_hold_every_row_and_about_as_many_each(predictions: pl.DataFrame) -> None:
    positive, probability = outcomes_of(predictions)

    bins = calibration_bins(positive, probability, bins=10)

    assert [group.rows for group in bins] == [300] * 10
    assert sum(group.rows * group.observed_rate for group in bins) == pytest.approx(positive.sum())
    assert sum(group.rows * group.mean_predicted for group in bins) == pytest.approx(probability.sum())
    assert [group.mean_predicted for group in bins] == sorted(group.mean_predicted for group in bins)


def test_rows_of_one_prediction_stay_in_one_bin() -> None:
    probability = np.repeat([0.1, 0.6], [900, 100])
    positive = np.zeros(1000, dtype=bool)
    positive[:180] = True
    positive[900:960] = True

    bins = calibration_bins(positive, probability)

    assert [(group.mean_predicted, group.observed_rate, group.rows) for group in bins] == [
        (pytest.approx(0.1), pytest.approx(0.2), 900),
        (pytest.approx(0.6), pytest.approx(0.6), 100),
    ]
    assert expected_calibration_error(bins) == pytest.approx(0.09)


def test_one_prediction_for_all_is_one_bin() -> None:
    bins = calibration_bins(np.array([True, False]), np.array([0.5, 0.5]))
    assert [group.rows for group in bins] == [2]
