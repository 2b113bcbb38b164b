"""What is searched for, how, and how long."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BeforeValidator, Field, model_validator

from stepworks.settings_file import Setting, validated, whole_numbers
from stepworks.training.parameters import Value, written
from stepworks.tuning.metrics_collector import MetricsCollector
from stepworks.tuning.search_space import ChoiceParameter, DoubleParameter, Parameter, ParameterName

Algorithm: TypeAlias = Literal[
    "random", "grid", "tpe", "multivariate-tpe", "bayesianoptimization", "cmaes", "sobol", "hyperband", "pbt",
]  # fmt: skip
AlgorithmSettings: TypeAlias = Annotated[Mapping[str, Value], BeforeValidator(whole_numbers)]
"""Katib reads a number of candidates as a whole one, and would not take `24.0`."""

_NEEDED = {
    "hyperband": {"r_l": "the most of the resource that a trial is given", "resource_name": "its parameter's name"},
    "pbt": {
        "suggestion_trial_dir": "the folder of the checkpoints, on a ReadWriteMany claim",
        "n_population": "how many trials there are in a generation",
        "truncation_threshold": "which part of them is replaced",
    },
}


class Objective(Setting):
    """The figure by which trials are compared.

    Attributes:
        metric: Its name, as the training reports it: `validation_loss`.
        goal: Whether it is to be as small or as large as possible.
        target: A value that is good enough: the search ends when a trial reaches it.
        best_of: Which of a trial's values counts: the `best` of all that it reported, or the `latest`.
        additional_metrics: Figures that are shown beside it, each by its latest value.
    """

    metric: str = Field(min_length=1)
    goal: Literal["minimize", "maximize"]
    target: float | None = None
    best_of: Literal["best", "latest"] = "best"
    additional_metrics: tuple[str, ...] = ()

    @property
    def strategy(self) -> Literal["min", "max", "latest"]:
        """Which of a trial's values of the metric counts, in Katib's words."""
        if self.best_of == "latest":
            return "latest"
        return "min" if self.goal == "minimize" else "max"


class EarlyStopping(Setting):
    """Trials end early whose best value so far is worse than the median of the others at the same step.

    Attributes:
        min_trials: How many trials must have completed before one is stopped.
        start_step: How many values a trial must have reported before it is stopped.
    """

    min_trials: int = Field(default=3, ge=1)
    start_step: int = Field(default=4, ge=1)


class TuningSpec(Setting):
    """A search.

    Attributes:
        space: What is varied.
        objective: What is searched for.
        algorithm: How values are chosen; names of Katib.
        algorithm_settings: Settings of the algorithm, as its page in Katib's documentation lists them.
        early_stopping: When trials end before their time; they never do where it is missing.
        trials: How many trials there are at most.
        parallel_trials: How many of them run at once.
        failed_trials: With more failed trials than this the search fails.
        metrics_collector: How Katib learns the figures; by default from lines `name=value` of the output.
    """

    space: Annotated[Mapping[ParameterName, Parameter], Field(min_length=1)]
    objective: Objective
    algorithm: Algorithm = "tpe"
    algorithm_settings: AlgorithmSettings = Field(default_factory=dict)
    early_stopping: EarlyStopping | None = None
    trials: int = Field(default=20, ge=1)
    parallel_trials: int = Field(default=2, ge=1)
    failed_trials: int = Field(default=3, ge=0)
    metrics_collector: MetricsCollector = MetricsCollector()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.parallel_trials > self.trials:
            raise ValueError(f"parallel_trials is {self.parallel_trials} and trials is {self.trials}")
        if self.objective.metric in self.objective.additional_metrics:
            raise ValueError(f"additional_metrics has the objective's own metric, {self.objective.metric}")
        needed = _NEEDED.get(self.algorithm, {})
        missing = [f"{name} ({what})" for name, what in needed.items() if name not in self.algorithm_settings]
        if missing:
            raise ValueError(f"the algorithm {self.algorithm} needs the algorithm_settings {', '.join(missing)}")
        self._check_space()
        return self

    def _check_space(self) -> None:
        if self.algorithm == "grid":
            endless = [n for n, each in self.space.items() if isinstance(each, DoubleParameter) and not each.step]
            if endless:
                raise ValueError(f"a grid has a step for each double, and {', '.join(endless)} has none")
        if self.algorithm == "cmaes":
            choices = [name for name, each in self.space.items() if isinstance(each, ChoiceParameter)]
            if choices or len(self.space) < 2:
                reason = f"{', '.join(choices)} is a choice" if choices else "there is one parameter"
                raise ValueError(f"cmaes varies two or more numbers of ranges, and {reason}")
        if self.algorithm == "hyperband":
            resource = str(self.algorithm_settings["resource_name"])
            if resource not in self.space:
                raise ValueError(f"hyperband's resource_name is {resource!r}, which is not in the space")
            try:
                self.space[resource].typed(str(self.algorithm_settings["r_l"]))
            except ValueError as error:
                raise ValueError(f"hyperband's r_l is the most that a trial gets of {resource}: {error}") from error

    def settings_as_text(self) -> dict[str, str]:
        """The settings of the algorithm as Katib is told them."""
        return {name: written(value) for name, value in self.algorithm_settings.items()}


def tuning_spec(**given: Any) -> TuningSpec:
    """Make the specification of a search from what a step was given.

    Raises:
        ConfigurationError: A value is wrong; the message names the field.
    """
    return validated(
        TuningSpec,
        given,
        problem="The search is not valid",
        expected="the fields that docs/tuning.md describes",
        what_to_do="Correct the value; nothing was started.",
    )
