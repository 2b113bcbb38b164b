import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn import metrics as sk

from stepworks.errors import EvaluationError, NotFoundError, ParameterError
from stepworks.evaluation.bootstrap import BootstrapSettings, _resamples, metrics_with_intervals
from stepworks.evaluation.evaluate import EvaluationSettings, evaluate
from stepworks.evaluation.predictions import check_predictions, outcomes_of, read_predictions, write_predictions


@pytest.fixture
def with_ties(predictions: pl.DataFrame) -> pl.DataFrame:
    """Few distinct scores, some of them certain and wrong."""
    return predictions.with_columns(probability=(pl.col("probability") * 8).round() / 8)


@pytest.mark.parametrize("frame", ["predictions", "with_ties"])
def test_metrics_are_those_of_scikit_learn(frame: str, request: pytest.FixtureRequest) -> None:
    positive, probability = outcomes_of(request.getfixturevalue(frame))

    found = metrics_with_intervals(positive, probability, 0.3, BootstrapSettings(resamples=10))

    assert {metric.name: pytest.approx(metric.value) for metric in found} == {
        "auc": sk.roc_auc_score(positive, probability),
        "average_precision": sk.average_precision_score(positive, probability),
        "log_loss": sk.log_loss(positive, probability),
        "brier_score": sk.brier_score_loss(positive, probability),
        "accuracy": sk.accuracy_score(positive, probability >= 0.3),
    }
    assert found[0].name == "auc"
    assert [metric.name for metric in found if not metric.higher_is_better] == ["log_loss", "brier_score"]


def test_intervals_are_those_of_a_bootstrap_written_out(with_ties: pl.DataFrame) -> None:
    positive, probability = outcomes_of(with_ties)
    random = np.random.default_rng(0)
    drawn = []
    for _ in range(300):
        rows = np.concatenate([random.choice(np.flatnonzero(side), size=side.sum()) for side in (positive, ~positive)])
        drawn.append(
            [
                sk.roc_auc_score(positive[rows], probability[rows]),
                sk.average_precision_score(positive[rows], probability[rows]),
                sk.brier_score_loss(positive[rows], probability[rows]),
            ]
        )
    lows, highs = np.quantile(drawn, [0.05, 0.95], axis=0)

    found = {
        metric.name: metric
        for metric in metrics_with_intervals(
            positive, probability, 0.5, BootstrapSettings(resamples=1000, confidence=0.9, seed=5)
        )
    }

    for name, low, high in zip(["auc", "average_precision", "brier_score"], lows, highs, strict=True):
        # Ends of two bootstraps differ by chance: an eighth of the width is about three standard errors.
        assert found[name].low == pytest.approx(low, abs=0.125 * (high - low))
        assert found[name].high == pytest.approx(high, abs=0.125 * (high - low))


def test_the_same_seed_gives_the_same_intervals_and_another_seed_others(predictions: pl.DataFrame) -> None:
    positive, probability = outcomes_of(predictions)
    once, again, other = (
        metrics_with_intervals(positive, probability, 0.5, BootstrapSettings(resamples=50, seed=seed))
        for seed in (1, 1, 2)
    )
    assert once == again
    assert once[0].low != other[0].low


def test_the_size_of_a_block_does_not_change_the_resamples(
    predictions: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    positive, probability = outcomes_of(predictions)
    settings = BootstrapSettings(resamples=7)
    drawn, found = [], []
    for rows_at_once in (7, 2, 1):
        monkeypatch.setattr("stepworks.evaluation.bootstrap._CELLS_AT_ONCE", rows_at_once * positive.size)
        blocks = list(_resamples(positive, settings))
        assert len(blocks[0]) == rows_at_once
        drawn.append(np.concatenate(blocks))
        found.append(metrics_with_intervals(positive, probability, 0.5, settings))

    assert np.array_equal(drawn[0], drawn[1])
    assert np.array_equal(drawn[0], drawn[2])
    for whole, *others in zip(*found, strict=True):
        for other in others:  # A product of matrices may be summed in another order.
            assert other.low == pytest.approx(whole.low, abs=1e-12)
            assert other.high == pytest.approx(whole.high, abs=1e-12)


def test_evaluate_writes_down_everything(predictions: pl.DataFrame, tmp_path: Path) -> None:
    write_predictions(predictions, tmp_path / "predictions")

    document = evaluate(tmp_path / "predictions", settings=EvaluationSettings(threshold=0.25))

    target = predictions["target"]
    assert (document.rows, document.positives) == (3000, target.sum())
    table = sk.confusion_matrix(target, predictions["probability"] >= 0.25)
    found = document.confusion
    assert table.tolist() == [
        [found.true_negatives, found.false_positives],
        [found.false_negatives, found.true_positives],
    ]
    assert document.slices == []
    assert type(document).read(document.write(tmp_path / "evaluation.json")) == document


def _with(predictions: pl.DataFrame, column: str, value: object) -> pl.DataFrame:
    """The predictions with another value in the first row."""
    kind = predictions.schema[column]
    first = pl.Series(column, [value], dtype=kind)
    return predictions.with_columns(pl.concat([first, predictions[column][1:]]))


@pytest.mark.parametrize(
    ("damage", "received"),
    [
        (lambda frame: frame.drop("probability"), "probability is missing"),
        (lambda frame: frame.with_columns(pl.col("target").cast(pl.Int64)), "target is Int64"),
        (lambda frame: frame.clear(), "no rows"),
        (lambda frame: _with(frame, "probability", None), "missing values: {'probability': 1}"),
        (lambda frame: _with(frame, "probability", math.nan), "row_id 0 and probability nan"),
        (lambda frame: _with(frame, "probability", 1.5), "row_id 0 and probability 1.5"),
        (lambda frame: _with(frame, "probability", -0.1), "row_id 0 and probability -0.1"),
        (lambda frame: _with(frame, "row_id", 1), "row_id 1 more than once"),
        (lambda frame: frame.filter(pl.col("target") == 1), "only the target [1]"),
        (lambda frame: _with(frame, "target", 2), "only the target [0, 1, 2]"),
    ],
)
def test_predictions_that_no_metric_can_be_computed_from(
    damage, received: str, predictions: pl.DataFrame, tmp_path: Path
) -> None:
    damage(predictions).write_parquet(tmp_path / "predictions")
    with pytest.raises(EvaluationError) as caught:
        evaluate(tmp_path / "predictions")
    assert received in caught.value.received
    assert str(tmp_path / "predictions") in caught.value.problem
    assert caught.value.expected
    assert caught.value.what_to_do


def test_unusable_predictions_are_not_written(predictions: pl.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError):
        write_predictions(predictions.clear(), tmp_path / "predictions")
    assert list(tmp_path.iterdir()) == []


def test_other_columns_are_left_out(predictions: pl.DataFrame) -> None:
    found = check_predictions(predictions.select(pl.lit(1).alias("more"), pl.all()), "these")
    assert found.columns == ["row_id", "target", "probability"]


def test_missing_predictions(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        read_predictions(tmp_path / "predictions")


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (BootstrapSettings, {"resamples": 1}),
        (BootstrapSettings, {"confidence": 1.0}),
        (EvaluationSettings, {"threshold": 1.1}),
        (EvaluationSettings, {"calibration_bins": 1}),
    ],
)
def test_settings_out_of_range(kind: type, settings: dict[str, float]) -> None:
    with pytest.raises(ParameterError):
        kind(**settings)
