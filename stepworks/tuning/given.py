"""What the step `tuning/tune` is given, checked when its pipeline compiles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stepworks.known import known_mapping
from stepworks.training.given import references_of
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
    for name in ("training", "space", "objective", "algorithm_settings", "early_stopping"):
        if len(known_mapping(known, name)) < len(known.get(name, {})):
            return {}  # A text in it is known later, and it cannot be judged without.
    given = {name: known[name] for name in TuningSpec.model_fields if name in known}
    complete = set(given) == set(TuningSpec.model_fields)
    spec = tuning_spec(**{**given, "early_stopping": given["early_stopping"] or None}) if complete else None
    if "training" not in known:
        return {}
    training = TrainingSpec(**known["training"])
    if spec:
        values = {name: _values(parameter) for name, parameter in spec.space.items()}
        for number in range(max(map(len, values.values()))):  # each value of each parameter once or more
            with_parameters(training, {name: each[number % len(each)] for name, each in values.items()})
    return references_of(training)


def _values(parameter: Parameter) -> tuple[Value, ...]:
    """The values of a choice, or the ends of a range."""
    return parameter.values if isinstance(parameter, ChoiceParameter) else (parameter.minimum, parameter.maximum)
