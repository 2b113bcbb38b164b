"""A search on this machine, by the real Optuna."""

from collections.abc import Mapping
from typing import Any

import pytest

from stepworks.errors import ConfigurationError, RunError
from stepworks.report.documents import TuningDocument
from stepworks.training.parameters import Value
from stepworks.tuning.local import Reporter, tune_locally
from stepworks.tuning.result import best_parameters
from stepworks.tuning.spec import tuning_spec

RATE = {"type": "double", "minimum": 1e-4, "maximum": 1.0, "scale": "log"}
DEPTH = {"type": "integer", "minimum": 1, "maximum": 6}
KIND = {"type": "choice", "values": ["a", "b"]}


def spec_of(**changed: Any) -> Any:
    fields: dict[str, Any] = {
        "space": {"rate": RATE, "depth": DEPTH, "kind": KIND},
        "objective": {"metric": "loss", "goal": "minimize"},
        "trials": 12,
    }
    return tuning_spec(**(fields | changed))


def bowl(parameters: Mapping[str, Value], reporter: Reporter) -> None:
    """The best is a depth of 3, a small rate and the kind b."""
    depth, rate, kind = float(parameters["depth"]), float(parameters["rate"]), parameters["kind"]
    reporter.report(1, loss=(depth - 3) ** 2 + rate + (kind == "a"), accuracy=0.5)


@pytest.mark.parametrize("algorithm", ["random", "tpe", "multivariate-tpe", "sobol", "bayesianoptimization"])
def test_every_algorithm_finds_something_good_and_the_same_again(algorithm: str) -> None:
    spec = spec_of(algorithm=algorithm, algorithm_settings={"random_state": 3})
    found, again = (tune_locally(spec, bowl) for _ in range(2))
    assert [trial.parameters for trial in found.trials] == [trial.parameters for trial in again.trials]
    assert len(found.trials) == 12
    assert found.ended_by == "all trials are done"
    values = {trial.name: trial.metrics["loss"] for trial in found.trials}
    assert values[str(found.best)] == min(values.values()) < 2
    assert isinstance(best_parameters(found)["depth"], int)


def test_a_grid_tries_everything_once_and_ends() -> None:
    space = {"depth": DEPTH, "kind": KIND, "rate": {"type": "double", "minimum": 0.1, "maximum": 0.3, "step": 0.1}}
    found = tune_locally(spec_of(algorithm="grid", space=space, trials=100), bowl)
    tried = {tuple(trial.parameters.values()) for trial in found.trials}
    assert len(tried) == len(found.trials) == 6 * 2 * 3
    assert found.ended_by == "the algorithm has nothing more to try"
    assert best_parameters(found) == {"depth": 3, "kind": "b", "rate": 0.1}


def test_it_ends_when_a_trial_is_good_enough() -> None:
    objective = {"metric": "accuracy", "goal": "maximize", "target": 0.4}
    found = tune_locally(spec_of(objective=objective), bowl)
    assert (len(found.trials), found.ended_by) == (1, "a trial reached the target")


def test_another_seed_tries_others() -> None:
    first, second = (tune_locally(spec_of(algorithm_settings={"random_state": seed}), bowl) for seed in (3, 4))
    assert first.trials[0].parameters != second.trials[0].parameters


def test_bad_trials_are_stopped_early_by_how_many_values_they_reported() -> None:
    told: list[int] = []

    def slow(parameters: Mapping[str, Value], reporter: Reporter) -> None:
        told.append(0)
        for step in range(500, 5500, 500):  # as the ends of epochs of an optimizer's steps
            told[-1] += 1
            reporter.report(step, loss=float(parameters["depth"]) + 1 / step)

    spec = spec_of(early_stopping={"min_trials": 2, "start_step": 4}, algorithm="random", trials=15)
    found = tune_locally(spec, slow)
    stopped = [trial for trial in found.trials if trial.state == "stopped_early"]
    assert stopped
    assert all(trial.metrics["loss"] > min(each.metrics["loss"] for each in found.trials) for trial in stopped)
    assert set(told) == {4, 10}
    assert found.best_trial
    assert found.best_trial.state == "succeeded"


def test_hyperband_stops_trials_without_early_stopping_and_gives_each_all_of_its_resource() -> None:
    told: list[int] = []

    def slow(parameters: Mapping[str, Value], reporter: Reporter) -> None:
        told.append(0)
        assert parameters["epochs"] == 9
        for step in range(500, 5000, 500):
            told[-1] += 1
            reporter.report(step, loss=float(parameters["depth"]) + 1 / step)

    spec = spec_of(
        space={"depth": DEPTH, "epochs": {"type": "integer", "minimum": 1, "maximum": 9}},
        algorithm="hyperband",
        algorithm_settings={"r_l": 9, "eta": 3, "resource_name": "epochs"},
        trials=20,
    )
    found = tune_locally(spec, slow)
    assert {trial.state for trial in found.trials} == {"succeeded", "stopped_early"}
    assert set(told) <= {1, 3, 9}
    assert min(told) < 9
    assert best_parameters(found)["depth"] == min(trial.parameters["depth"] for trial in found.trials)


def test_the_settings_that_optuna_has_are_used_and_the_others_are_named_once(caplog: Any) -> None:
    settings = {"random_state": 3, "n_EI_candidates": 24, "gamma": 0.3}
    spec = spec_of(algorithm_settings=settings, trials=14, metrics_collector={"kind": "Push"})
    found = tune_locally(spec, bowl)
    (record,) = caplog.records
    assert "does not use gamma: 0.3; metrics_collector: Push; Katib does" in record.getMessage()
    few = tune_locally(spec_of(algorithm_settings={**settings, "n_startup_trials": 2}, trials=14), bowl)
    assert [trial.parameters for trial in found.trials[:2]] == [trial.parameters for trial in few.trials[:2]]
    assert [trial.parameters for trial in found.trials] != [trial.parameters for trial in few.trials]


@pytest.mark.parametrize(
    ("settings", "told"),
    [({"random_state": "x"}, "random_state: x; could not"), ({"n_EI_candidates": 0.5}, "0.5 is not a whole number")],
)
def test_settings_that_optuna_refuses_are_told_before_the_first_trial(settings: dict[str, Any], told: str) -> None:
    begun: list[Any] = []
    with pytest.raises(ConfigurationError, match="cannot search by tpe with these settings") as raised:
        tune_locally(spec_of(algorithm_settings=settings), lambda *given: begun.append(given))
    assert told in raised.value.received
    assert not begun


@pytest.mark.parametrize(("best_of", "expected"), [("best", 1.0), ("latest", 5.0)])
def test_which_of_the_reported_values_counts(best_of: str, expected: float) -> None:
    def up_and_down(parameters: Mapping[str, Value], reporter: Reporter) -> None:
        for step, value in enumerate((3.0, 1.0, float("nan"), 5.0)):
            reporter.report(step, loss=value)

    objective = {"metric": "loss", "goal": "minimize", "best_of": best_of}
    found = tune_locally(spec_of(objective=objective, trials=1, parallel_trials=1), up_and_down)
    assert found.trials[0].metrics == {"loss": expected}


def failing(parameters: Mapping[str, Value], reporter: Reporter) -> None:
    if parameters["kind"] == "a":
        raise ValueError("kind a does not work")
    bowl(parameters, reporter)


def test_a_failed_trial_does_not_end_the_search() -> None:
    found = tune_locally(spec_of(failed_trials=12), failing)
    assert {trial.state for trial in found.trials} == {"succeeded", "failed"}
    assert best_parameters(found)["kind"] == "b"


def test_too_many_failed_trials_do() -> None:
    with pytest.raises(RunError, match="Too many trials of the search failed") as raised:
        tune_locally(
            spec_of(space={"kind": {"type": "choice", "values": ["a", "a2"]}}, failed_trials=1), lambda *_: None
        )
    assert raised.value.received.startswith("2 of 2, the last one with {'kind': ")


def test_without_any_figure_there_is_no_best() -> None:
    found = tune_locally(spec_of(failed_trials=12), lambda *_: None)
    assert found.best is None
    with pytest.raises(RunError, match="No trial of the search reported loss") as raised:
        best_parameters(found)
    assert raised.value.received == "12 trials: 12 without metrics"


def test_an_algorithm_that_only_katib_has() -> None:
    settings = {"suggestion_trial_dir": "/mnt/pbt", "n_population": 4, "truncation_threshold": 0.2}
    with pytest.raises(ConfigurationError, match="pbt cannot be tried on this machine"):
        tune_locally(spec_of(algorithm="pbt", algorithm_settings=settings), bowl)


def test_the_document_is_written_and_read(tmp_path: Any) -> None:
    found = tune_locally(spec_of(), bowl)
    assert TuningDocument.read(found.write(tmp_path / "tuning")) == found
