"""What the step `tuning/tune` is given, checked when its pipeline compiles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stepworks.errors import ConfigurationError
from stepworks.known import known_mapping
from stepworks.training.given import references_of, trials_spec
from stepworks.training.parameters import Value, with_parameters
from stepworks.training.spec import TrainingSpec
from stepworks.tuning.search_space import ChoiceParameter, Parameter
from stepworks.tuning.spec import TuningSpec, tuning_spec


def check_tuning(known: Mapping[str, Any]) -> dict[str, str]:
    """See that what is known of a search when its pipeline compiles can be searched.

    Args:
        known: The step's parameters that are known then, with their defaults.

    Returns:
        The references to code of what is trained, by their roles.

    Raises:
        ConfigurationError: A setting of the search or of the training is wrong, or a parameter does not reach it.
    """
    for name in ("training", "space", "objective", "algorithm_settings", "early_stopping", "metrics_collector"):
        if len(known_mapping(known, name)) < len(known.get(name, {})):
            return {}  # A text in it is known later, and it cannot be judged without.
    given = {name: known[name] for name in TuningSpec.model_fields if name in known}
    if set(given) == set(TuningSpec.model_fields):
        tuning_spec(**{**given, "early_stopping": given["early_stopping"] or None})
    if "training" not in known:
        return {}
    training = trials_spec(known["training"], {})
    if {"space", "objective"} <= set(known):  # how many trials there are may be known later
        check_trials(tuning_spec(space=known["space"], objective=known["objective"]), training)
    return references_of(training)


def check_trials(spec: TuningSpec, training: TrainingSpec) -> None:
    """See that trials can train with the values of a search, and report what it looks for.

    Args:
        spec: What is searched for.
        training: What each trial trains without the values.

    Raises:
        ConfigurationError: A value is not one of its setting, a parameter does not reach the training, or the trials
            would not compute the objective's metric.
    """
    values = {name: _values(parameter) for name, parameter in spec.space.items()}
    for number in range(max(map(len, values.values()))):  # each value of each parameter once or more
        trained = with_parameters(training, {name: each[number % len(each)] for name, each in values.items()})
        _refuse_area_that_is_not_monitored(spec, trained)


def _refuse_area_that_is_not_monitored(spec: TuningSpec, training: TrainingSpec) -> None:
    """The area under the curve takes every score of a validation, and is computed only where it is monitored."""
    if training.form != "builders" or spec.objective.metric != "validation_auc":
        return
    if training.loop.monitor != "validation_auc":
        raise ConfigurationError(
            "The trials would not compute the objective's metric validation_auc",
            received=f"training whose loop has the monitor {training.loop.monitor}",
            expected="the monitor validation_auc, which the steps have where loop has none",
            what_to_do=f"Take monitor out of the loop of training, or search by {training.loop.monitor}.",
        )


def refuse_without_validation(spec: TuningSpec, training: TrainingSpec) -> None:
    """Refuse a search for a figure of a validation where there is nothing to validate on.

    Args:
        spec: What is searched for.
        training: What each trial trains, with its inputs.

    Raises:
        ConfigurationError: No trial would report the objective's metric.
    """
    metric = spec.objective.metric
    if training.form == "builders" and metric.startswith("validation_") and "validation" not in training.inputs:
        raise ConfigurationError(
            f"The trials would not compute the objective's metric {metric}",
            received=f"the inputs {', '.join(training.inputs)}",
            expected="the input validation_features, from which figures of that name are computed",
            what_to_do="Hand the step validation_features, or search by train_loss.",
        )


def _values(parameter: Parameter) -> tuple[Value, ...]:
    """The values of a choice, or the ends of a range."""
    return parameter.values if isinstance(parameter, ChoiceParameter) else (parameter.minimum, parameter.maximum)
