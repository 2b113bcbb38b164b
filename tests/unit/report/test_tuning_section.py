"""The page of a search for parameters."""

from typing import Any

import pytest

from stepworks.report.documents import Trial, TuningDocument
from stepworks.report.page import document_page
from tests.unit.report.test_page import Page


def tuning(**changed: Any) -> TuningDocument:
    rates = [0.00002, 0.001, 0.3]
    trials = [
        Trial(
            name=f"trial-{number}",
            state="stopped_early" if number == 2 else "succeeded",
            parameters={"rate": rate, "depth": number, "kind": "a", "norm": True},
            metrics={"auc": 0.7 + 0.01 * number, "loss": 0.4},
            seconds=61.0,
        )
        for number, rate in enumerate(rates)
    ]
    failed = Trial(name="trial-3", state="failed", parameters=dict.fromkeys(trials[0].parameters, 1), seconds=None)
    fields: dict[str, Any] = {
        "searched_by": "Katib",
        "algorithm": "tpe",
        "metric": "auc",
        "goal": "maximize",
        "trials": [*trials, failed],
        "best": "trial-2",
        "ended_by": "all trials are done",
    }
    return TuningDocument(**(fields | changed))


def page(document: TuningDocument) -> Page:
    return Page(document_page([document], "Tuning"))


def test_the_best_is_said_and_every_trial_is_listed() -> None:
    shown = page(tuning())
    assert "Looked for the largest auc" in shown.text
    assert "4 trials (2 succeeded, 1 stopped early, 1 failed); ended because all trials are done" in shown.text
    assert "Best 0.72, trial-2 rate 0.3 depth 2 kind a norm true" in shown.text
    assert len(shown.all("tr")) == 5
    assert len(shown.all("figure")) == 5  # the trials, and one for each parameter
    ids = [found["id"] for _, found in shown.elements if "id" in found]
    assert len(ids) == len(set(ids))


def test_ticks_are_plain_numbers_where_a_parameter_spans_decades() -> None:
    shown = page(tuning())
    assert "0.0001" in shown.text
    assert "mathdefault" not in shown.text


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"best": None}, "Best no trial reported it"),
        ({"best": None, "trials": []}, "Trials none; ended because"),
        ({"goal": "minimize"}, "the smallest auc"),
    ],
)
def test_searches_that_went_otherwise(changed: dict[str, Any], told: str) -> None:
    assert told in page(tuning(**changed)).text


def test_drawings_without_a_figure_are_left_out() -> None:
    assert page(tuning(best=None)).all("figure") == []
