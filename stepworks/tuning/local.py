"""A search on this machine, by Optuna, over the same space and for the same objective."""

from __future__ import annotations

import itertools
import logging
import math
import time
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from stepworks.errors import RunError, TrainingEndedError
from stepworks.report.documents import Trial, TuningDocument
from stepworks.training.parameters import Value
from stepworks.tuning.result import best_of
from stepworks.tuning.samplers import pruner_of, sampler_of, unused_settings
from stepworks.tuning.search_space import ChoiceParameter, DoubleParameter, IntegerParameter, Parameter
from stepworks.tuning.spec import TuningSpec

if TYPE_CHECKING:
    import optuna

logger = logging.getLogger(__name__)


class TrialStoppedError(Exception):
    """Ends a trial that is worse than the others; `Reporter.report` raises it, and the trial lets it pass."""


class Reporter(Protocol):
    """What a trial is given to tell how it gets on."""

    def report(self, step: int, **metrics: float) -> None:
        """Report figures of a step; raises TrialStoppedError where the trial is to end early."""
        ...


Objective = Callable[[Mapping[str, Value], Reporter], None]
"""Runs one trial with some parameters, and reports its figures at least once."""


def tune_locally(spec: TuningSpec, run_trial: Objective) -> TuningDocument:
    """Search on this machine, one trial after another.

    The same values are tried again in the same order; another `random_state` among the settings of the algorithm gives
    others. Settings that Optuna has no use for are named in the log, once.

    Args:
        spec: What is searched for.
        run_trial: Runs one trial. An error of ours, or any other exception, is a failed trial.

    Returns:
        All trials.

    Raises:
        ConfigurationError: Optuna does not have the algorithm, or refuses one of its settings; no trial was begun.
        TrainingEndedError: A trial was ended from outside, and with it the search.
        RunError: More trials failed than `failed_trials` allows.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():  # what Optuna calls experimental is said once, by its version, which is pinned
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(
            direction=spec.objective.goal, sampler=sampler_of(spec), pruner=pruner_of(spec), study_name="stepworks"
        )
    if unused := unused_settings(spec):
        logger.warning("The search on this machine does not use %s; Katib does in a cluster.", "; ".join(unused))
    trials: list[Trial] = []
    ended_by = "all trials are done"
    most = spec.trials
    if spec.algorithm == "grid":
        points = _grid(spec)
        if len(points) <= most:
            most, ended_by = len(points), "the algorithm has nothing more to try"
        for point in points[:most]:
            study.enqueue_trial(point)
    for number in range(most):
        trial = _run(spec, run_trial, study, f"trial-{number}")
        trials.append(trial)
        _refuse_failures(spec, trials)
        if _reached(spec, trial):
            ended_by = "a trial reached the target"
            break
    return TuningDocument(
        searched_by="Optuna",
        algorithm=spec.algorithm,
        metric=spec.objective.metric,
        goal=spec.objective.goal,
        trials=trials,
        best=best_of(trials, spec.objective),
        ended_by=ended_by,
    )


class _Reports:
    """Keeps what a trial reports, and asks Optuna whether it is worth going on."""

    def __init__(self, spec: TuningSpec, asked: optuna.Trial) -> None:
        self.metrics: dict[str, float] = {}
        self._spec = spec
        self._asked = asked
        self._stops_trials = spec.early_stopping is not None or spec.algorithm == "hyperband"
        self._values = 0

    def report(self, step: int, **metrics: float) -> None:  # noqa: ARG002  # for the log of others
        objective = self._spec.objective
        better = {"min": min, "max": max}.get(objective.strategy)
        for name in {objective.metric, *objective.additional_metrics} & set(metrics):
            value = float(metrics[name])
            if math.isfinite(value):
                is_compared = better and name == objective.metric and name in self.metrics
                self.metrics[name] = better(self.metrics[name], value) if better and is_compared else value
        if objective.metric in metrics and math.isfinite(metrics[objective.metric]):
            # Values are counted: steps of an optimizer are far apart, and differ with what a trial varies.
            self._values += 1
            self._asked.report(float(metrics[objective.metric]), self._values)
            if self._stops_trials and self._asked.should_prune():
                raise TrialStoppedError


def _run(spec: TuningSpec, run_trial: Objective, study: optuna.Study, name: str) -> Trial:
    from optuna.trial import TrialState

    asked = study.ask()
    resource = _resource(spec)
    parameters = {
        key: resource[key] if key in resource else _suggest(asked, key, each) for key, each in spec.space.items()
    }
    reports = _Reports(spec, asked)
    began = time.monotonic()
    state: Any = "succeeded"
    try:
        run_trial(parameters, reports)
    except TrialStoppedError:
        state = "stopped_early"
    except TrainingEndedError:  # as by SIGTERM, which was for this process
        raise
    except Exception as error:  # noqa: BLE001  # a trial may fail in any way, and the search goes on
        logger.warning("%s failed: %s", name, error)
        state = "failed"
    value = reports.metrics.get(spec.objective.metric)
    if state == "succeeded" and value is None:
        state = "without_metrics"
    if state == "succeeded":
        study.tell(asked, value)
    else:
        study.tell(asked, state=TrialState.PRUNED if state == "stopped_early" else TrialState.FAIL)
    return Trial(
        name=name, state=state, parameters=parameters, metrics=reports.metrics, seconds=time.monotonic() - began
    )


def _refuse_failures(spec: TuningSpec, trials: list[Trial]) -> None:
    failed = [trial for trial in trials if trial.state in {"failed", "without_metrics"}]
    if len(failed) > spec.failed_trials:
        raise RunError(
            "Too many trials of the search failed",
            received=f"{len(failed)} of {len(trials)}, the last one with {failed[-1].parameters}",
            expected=f"at most {spec.failed_trials}",
            what_to_do="Read the log for why they failed; narrow the space, or raise failed_trials.",
        )


def _reached(spec: TuningSpec, trial: Trial) -> bool:
    value, target = trial.metrics.get(spec.objective.metric), spec.objective.target
    if trial.state != "succeeded" or value is None or target is None:
        return False
    return value <= target if spec.objective.goal == "minimize" else value >= target


def _resource(spec: TuningSpec) -> dict[str, Value]:
    """What hyperband gives to every trial: all of its resource, of which a bad trial is stopped before it uses it."""
    if spec.algorithm != "hyperband":
        return {}
    name = str(spec.algorithm_settings["resource_name"])
    return {name: spec.space[name].typed(str(spec.algorithm_settings["r_l"]))}


def _suggest(asked: optuna.Trial, name: str, parameter: Parameter) -> Value:
    match parameter:
        case DoubleParameter():
            ends, is_log = (parameter.minimum, parameter.maximum), parameter.scale == "log"
            return float(asked.suggest_float(name, *ends, step=parameter.step, log=is_log))
        case IntegerParameter():
            ends, is_log = (parameter.minimum, parameter.maximum), parameter.scale == "log"
            return int(asked.suggest_int(name, *ends, step=parameter.step, log=is_log))
        case ChoiceParameter():
            chosen: Value = asked.suggest_categorical(name, parameter.values)
            return chosen


def _grid(spec: TuningSpec) -> list[dict[str, Value]]:
    """Every point of a grid, in the order of the space; the last parameter turns fastest."""
    values = [_points(parameter) for parameter in spec.space.values()]
    return [dict(zip(spec.space, point, strict=True)) for point in itertools.product(*values)]


def _points(parameter: Parameter) -> list[Value]:
    if isinstance(parameter, ChoiceParameter):
        return list(parameter.values)
    step = parameter.step or 1
    count = math.floor((parameter.maximum - parameter.minimum) / step + 1e-9) + 1
    return [min(round(parameter.minimum + index * step, 12), parameter.maximum) for index in range(count)]
