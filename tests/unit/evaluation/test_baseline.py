from pathlib import Path

import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from stepworks.errors import EvaluationError, ParameterError
from stepworks.evaluation.baseline import historical_rate
from stepworks.evaluation.predictions import check_predictions


def _table(path: Path, rows: dict[str, list]) -> Path:
    pl.DataFrame(rows).with_row_index("row_id").write_parquet(path)
    return path


@pytest.fixture
def train(tmp_path: Path) -> Path:
    rows = {"hour": [6, 6, 6, 18, 18], "carrier": ["AA", "AA", None, "AA", "B6"]}
    return _table(tmp_path / "train", rows | {"late": [False, True, False, True, True]})


def test_a_group_backs_off_to_the_group_around_it(train: Path, tmp_path: Path) -> None:
    rows = {"hour": [6, 6, 18, 7], "carrier": ["AA", None, "UA", "AA"], "late": [True, False, True, False]}
    test = _table(tmp_path / "test", rows)

    found = historical_rate(train, test, ["hour", "carrier"], "late", smoothing_rows=2)

    everywhere = 3 / 5
    morning = (1 + 2 * everywhere) / (3 + 2)
    evening = (2 + 2 * everywhere) / (2 + 2)
    assert found["probability"].to_list() == pytest.approx(
        [(1 + 2 * morning) / (2 + 2), (0 + 2 * morning) / (1 + 2), evening, everywhere]
    )
    assert found["row_id"].to_list() == [0, 1, 2, 3]
    assert found["target"].to_list() == [1, 0, 1, 0]
    check_predictions(found, "the baseline")


def test_a_key_may_be_an_expression(train: Path, tmp_path: Path) -> None:
    test = _table(tmp_path / "test", {"hour": [7, 23], "carrier": ["AA", "AA"], "late": [True, False]})
    found = historical_rate(train, test, ["hour // 12"], "late", smoothing_rows=1)
    assert found["probability"].to_list() == pytest.approx([(1 + 0.6) / 4, (2 + 0.6) / 3])


def test_the_history_of_the_flights_of_a_year(flights: Path) -> None:
    """The figure of reference of this data set: 0.621."""
    keys = ["sched_dep_time // 100", "carrier"]
    found = historical_rate(flights / "train.parquet", flights / "test.parquet", keys, "late")
    assert roc_auc_score(found["target"], found["probability"]) == pytest.approx(0.621, abs=0.003)


def test_the_outcome_of_the_test_rows_does_not_matter(flights: Path, tmp_path: Path) -> None:
    turned = pl.read_parquet(flights / "test.parquet").with_columns(~pl.col("late"))
    turned.write_parquet(tmp_path / "turned")
    as_it_was, otherwise = (
        historical_rate(flights / "train.parquet", test, ["carrier"], "late")["probability"]
        for test in (flights / "test.parquet", tmp_path / "turned")
    )
    assert as_it_was.equals(otherwise)


@pytest.mark.parametrize(
    ("keys", "target", "received"),
    [
        (["hour", "colour"], "late", "colour"),
        (["hour"], "later", "later"),
        (["hour //"], "late", "unable to parse 'hour //'"),
    ],
)
def test_what_the_table_does_not_have(train: Path, keys: list[str], target: str, received: str) -> None:
    with pytest.raises(EvaluationError, match="training table") as caught:
        historical_rate(train, train, keys, target)
    assert received in caught.value.received
    assert "carrier" in caught.value.expected


@pytest.mark.parametrize(("keys", "smoothing_rows"), [([], 1.0), (["hour"], 0.0)])
def test_settings_that_give_no_rate(train: Path, keys: list[str], smoothing_rows: float) -> None:
    with pytest.raises(ParameterError):
        historical_rate(train, train, keys, "late", smoothing_rows)


def test_no_history(train: Path, tmp_path: Path) -> None:
    pl.read_parquet(train).clear().write_parquet(tmp_path / "empty")
    with pytest.raises(EvaluationError, match="no history"):
        historical_rate(tmp_path / "empty", train, ["hour"], "late")
