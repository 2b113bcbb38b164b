from pathlib import Path

import polars as pl
import pytest

from stepworks.errors import EvaluationError, ParameterError
from stepworks.evaluation.compare import BASELINE, champion_reference, compare
from stepworks.evaluation.evaluate import evaluate
from stepworks.evaluation.gate import GateSettings, gate
from stepworks.evaluation.predictions import write_predictions
from stepworks.report.documents import EvaluationDocument


def noisy(predictions: pl.DataFrame, weight: float, seed: int = 0) -> pl.DataFrame:
    """Predictions mixed with noise: the more of it, the worse."""
    noise = pl.col("probability").shuffle(seed)
    return predictions.with_columns(probability=(1 - weight) * pl.col("probability") + weight * noise)


@pytest.fixture
def evaluation(predictions: pl.DataFrame, tmp_path: Path) -> EvaluationDocument:
    write_predictions(predictions, tmp_path / "predictions")
    return evaluate(tmp_path / "predictions")


def outcomes(verdict) -> dict[str, str]:
    return {rule.name: rule.outcome for rule in verdict.rules}


def test_a_model_ahead_of_the_baseline_passes(predictions: pl.DataFrame, evaluation: EvaluationDocument) -> None:
    verdict = gate(evaluation, compare(predictions, {BASELINE: noisy(predictions, 0.7)}))

    assert verdict.verdict == "pass"
    assert outcomes(verdict) == {
        "enough data": "pass",
        "ahead of the baseline": "pass",
        "not worse than the champion": "not_applicable",
    }
    assert "no champion" in verdict.rules[-1].statement


def test_an_interval_that_reaches_zero_is_not_ahead(predictions: pl.DataFrame, evaluation: EvaluationDocument) -> None:
    comparison = compare(predictions, {BASELINE: noisy(predictions, 0.02)})
    found = comparison.comparisons[0].difference
    assert found.low is not None
    assert found.low < 0 < found.high  # the case that this test is about

    verdict = gate(evaluation, comparison)

    assert verdict.verdict == "fail"
    assert f"{found.high:+.4f}" in verdict.reason
    assert f"{found.low:+.4f}".replace("-", "\N{MINUS SIGN}") in verdict.reason


def test_a_stated_margin_is_asked_for(predictions: pl.DataFrame, evaluation: EvaluationDocument) -> None:
    comparison = compare(predictions, {BASELINE: noisy(predictions, 0.7)})
    low = comparison.comparisons[0].difference.low
    assert low is not None
    for margin, expected in ((low - 0.001, "pass"), (low + 0.001, "fail")):
        assert gate(evaluation, comparison, GateSettings(baseline_margin=margin)).verdict == expected


def test_the_same_training_twice_passes(predictions: pl.DataFrame, evaluation: EvaluationDocument) -> None:
    references = {BASELINE: noisy(predictions, 0.7), champion_reference(3): predictions}
    verdict = gate(evaluation, compare(predictions, references), GateSettings(champion_margin=0.001))
    assert verdict.verdict == "pass"
    assert "champion 3" in verdict.rules[-1].statement


def test_worse_than_the_champion_fails(predictions: pl.DataFrame) -> None:
    worse = noisy(predictions, 0.4)
    comparison = compare(worse, {BASELINE: noisy(predictions, 0.9), champion_reference(3): predictions})
    verdict = gate(_evaluation_of(worse), comparison)
    assert verdict.verdict == "fail"
    assert outcomes(verdict) == {
        "enough data": "pass",
        "ahead of the baseline": "pass",
        "not worse than the champion": "fail",
    }
    assert verdict.reason == verdict.rules[2].statement


def _evaluation_of(predictions: pl.DataFrame) -> EvaluationDocument:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        write_predictions(predictions, Path(folder) / "predictions")
        return evaluate(Path(folder) / "predictions")


@pytest.mark.parametrize("settings", [GateSettings(smallest_rows=3001), GateSettings(smallest_class=1500)])
def test_too_few_rows_are_no_verdict_even_for_a_bad_model(
    settings: GateSettings, predictions: pl.DataFrame, evaluation: EvaluationDocument
) -> None:
    verdict = gate(evaluation, compare(predictions, {BASELINE: predictions}), settings)
    assert outcomes(verdict)["ahead of the baseline"] == "fail"
    assert verdict.verdict == "insufficient_data"


def test_a_difference_without_an_interval_is_no_verdict() -> None:
    few = pl.DataFrame(
        {"row_id": [0, 1, 2], "target": [1, 0, 0], "probability": [0.9, 0.1, 0.2]},
        schema={"row_id": pl.UInt32, "target": pl.Int8, "probability": pl.Float64},
    )
    verdict = gate(_evaluation_of(few), compare(few, {BASELINE: few}), GateSettings(smallest_rows=1, smallest_class=1))
    assert verdict.verdict == "insufficient_data"
    assert outcomes(verdict)["ahead of the baseline"] == "insufficient_data"


def test_a_comparison_without_the_baseline(predictions: pl.DataFrame, evaluation: EvaluationDocument) -> None:
    with pytest.raises(EvaluationError, match="not compared with the baseline"):
        gate(evaluation, compare(predictions, {champion_reference(1): predictions}))


def test_a_comparison_of_other_rows(predictions: pl.DataFrame, evaluation: EvaluationDocument) -> None:
    fewer = predictions[:2000]
    with pytest.raises(EvaluationError, match="different rows"):
        gate(evaluation, compare(fewer, {BASELINE: fewer}))


@pytest.mark.parametrize("name", ["baseline_margin", "champion_margin", "smallest_rows", "smallest_class"])
def test_a_setting_below_its_least(name: str) -> None:
    with pytest.raises(ParameterError, match=f"{name}=-1"):
        GateSettings(**{name: -1})  # type: ignore[arg-type]  # the type follows from the name


def test_a_bound_of_zero_is_written_as_every_difference(
    predictions: pl.DataFrame, evaluation: EvaluationDocument
) -> None:
    verdict = gate(evaluation, compare(predictions, {BASELINE: predictions}))
    assert "of the historical rate: 0.0000 (95 % interval 0.0000 to 0.0000)" in verdict.reason
    assert verdict.reason.endswith("must lie above 0.0000.")


def test_rows_are_paired_by_their_id(predictions: pl.DataFrame) -> None:
    reference = noisy(predictions, 0.5)
    shuffled = reference.sample(fraction=1.0, shuffle=True, seed=1)
    assert compare(predictions, {"x": shuffled}) == compare(predictions, {"x": reference})


def test_a_candidate_of_fewer_rows(predictions: pl.DataFrame) -> None:
    with pytest.raises(EvaluationError, match="same rows") as caught:
        compare(predictions[1:], {BASELINE: predictions})
    assert "2999 rows of the candidate, 3000 of the reference" in caught.value.received


@pytest.mark.parametrize(
    ("other", "received"),
    [
        (lambda frame: frame[1:], "2999 of the reference, 2999 in both"),
        (lambda frame: frame.with_columns(pl.col("row_id") + 1), "2999 in both"),
        (
            lambda frame: frame.with_columns((1 - pl.col("target")).cast(pl.Int8).alias("target")),
            "3000 rows with two targets",
        ),
    ],
)
def test_references_of_other_rows(other, received: str, predictions: pl.DataFrame) -> None:
    with pytest.raises(EvaluationError, match="historical rate") as caught:
        compare(predictions, {BASELINE: other(predictions)})
    assert received in caught.value.received
