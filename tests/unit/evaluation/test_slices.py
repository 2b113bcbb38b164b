import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from stepworks.errors import EvaluationError, ParameterError
from stepworks.evaluation.evaluate import evaluate
from stepworks.evaluation.predictions import write_predictions
from stepworks.evaluation.slices import slices_of


@pytest.fixture
def table(predictions: pl.DataFrame) -> pl.DataFrame:
    """Raw rows in another order than the predictions."""
    row = pl.col("row_id")
    return predictions.select(
        "row_id",
        carrier=pl.when(row % 10 == 0).then(None).when(row % 3 == 0).then(pl.lit("B6")).otherwise(pl.lit("AA")),
        month=pl.lit(12) - row % 2,
        tail=pl.format("N{}", (row % 40).sqrt().floor().cast(pl.Int64)),
        distance=row * 1.5,
        visibility=pl.when(row % 5 == 0).then(row % 25).otherwise(100),
    ).sample(fraction=1.0, shuffle=True, seed=1)


def test_each_slice_has_the_metric_of_its_rows(predictions: pl.DataFrame, table: pl.DataFrame) -> None:
    found = slices_of(predictions, table, ["carrier"], 0.9)

    rows = predictions.join(table, on="row_id")
    for part in found:
        chosen = rows.filter(
            pl.col("carrier").is_null() if part.value == "(missing)" else pl.col("carrier") == part.value
        )
        assert part.rows == chosen.height
        assert part.target_rate == pytest.approx(chosen["target"].mean())
        assert part.auc is not None
        assert part.auc.value == pytest.approx(roc_auc_score(chosen["target"], chosen["probability"]))
        assert part.auc.confidence == 0.9
    assert [part.value for part in found] == ["AA", "B6", "(missing)"]


def test_numbers_are_in_order_and_columns_too(predictions: pl.DataFrame, table: pl.DataFrame) -> None:
    found = slices_of(predictions, table, ["month", "carrier"], 0.95)
    assert [(part.column, part.value) for part in found][:3] == [("month", "11"), ("month", "12"), ("carrier", "AA")]


def test_many_texts_are_cut_to_the_most_frequent(predictions: pl.DataFrame, table: pl.DataFrame) -> None:
    found = slices_of(predictions, table, ["tail"], 0.95, most_values=3)
    assert [part.value for part in found] == ["N5", "N4", "N3", "(others)"]
    assert sum(part.rows for part in found) == predictions.height


def test_many_numbers_are_cut_into_quarters(predictions: pl.DataFrame, table: pl.DataFrame) -> None:
    found = slices_of(predictions, table, ["distance"], 0.95)
    assert [part.value for part in found] == [
        "up to 1123.5",
        "above 1123.5 to 2248.5",
        "above 2248.5 to 3373.5",
        "above 3373.5",
    ]
    assert [part.rows for part in found] == [750] * 4


def test_a_number_that_is_none_is_missing(predictions: pl.DataFrame, table: pl.DataFrame) -> None:
    row = pl.col("row_id")
    table = table.with_columns(height=pl.when(row < 10).then(None).when(row < 30).then(float("nan")).otherwise(row / 2))
    found = slices_of(predictions, table, ["height"], 0.95)
    *quarters, missing = found
    assert sorted(part.rows for part in quarters) == [742, 742, 743, 743]
    assert (missing.value, missing.rows) == ("(missing)", 30)


def test_a_number_that_is_mostly_its_highest_is_cut_below_it(predictions: pl.DataFrame, table: pl.DataFrame) -> None:
    found = slices_of(predictions, table, ["visibility"], 0.95, most_values=2)
    assert [(part.value, part.rows) for part in found] == [("up to 20", 600), ("above 20", 2400)]


def test_a_slice_of_one_class_has_no_metric(predictions: pl.DataFrame) -> None:
    table = predictions.select("row_id", side=pl.when(pl.col("target") == 1).then(pl.lit("x")).otherwise(pl.lit("y")))
    assert {part.value: part.auc for part in slices_of(predictions, table, ["side"], 0.95)} == {"x": None, "y": None}


def test_unknown_column(predictions: pl.DataFrame, table: pl.DataFrame) -> None:
    with pytest.raises(EvaluationError, match="cannot be sliced") as caught:
        slices_of(predictions, table, ["carrier", "colour"], 0.95)
    assert caught.value.received == "no column colour"
    assert "carrier" in caught.value.expected


@pytest.mark.parametrize("other", [lambda table: table[1:], lambda table: table.with_columns(pl.col("row_id") + 1)])
def test_other_rows_than_the_predictions(other, predictions: pl.DataFrame, table: pl.DataFrame) -> None:
    with pytest.raises(EvaluationError, match="different rows"):
        slices_of(predictions, other(table), ["carrier"], 0.95)


def test_fewer_predictions_than_rows(predictions: pl.DataFrame, table: pl.DataFrame) -> None:
    with pytest.raises(EvaluationError, match="different rows") as caught:
        slices_of(predictions[1:], table, ["carrier"], 0.95)
    assert caught.value.received == "2999 predictions, 3000 rows, 2999 of them in both"


def test_evaluate_slices_the_table_it_is_given(predictions: pl.DataFrame, table: pl.DataFrame, tmp_path) -> None:
    write_predictions(predictions, tmp_path / "predictions")
    table.write_parquet(tmp_path / "test")
    document = evaluate(tmp_path / "predictions", tmp_path / "test", ["month"])
    assert [part.value for part in document.slices] == ["11", "12"]


def test_slices_of_no_table(predictions: pl.DataFrame, tmp_path) -> None:
    write_predictions(predictions, tmp_path / "predictions")
    with pytest.raises(ParameterError, match="no table"):
        evaluate(tmp_path / "predictions", slice_columns=["month"])
