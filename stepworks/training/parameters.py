"""What a search chose, put where a training takes it: for each of its trials, and for the training that follows it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeAlias

from stepworks.errors import ConfigurationError
from stepworks.settings_file import whole_numbers
from stepworks.training.spec import LoopSettings, TrainingSpec

Value: TypeAlias = bool | int | float | str
"""A value of a parameter."""

_PLACE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


def with_parameters(spec: TrainingSpec, parameters: Mapping[str, Value]) -> TrainingSpec:
    """A spec with the parameters that a search chose.

    Of the form with builders a parameter is a setting of the loop if that has one of its name, and otherwise one of the
    model builder. An entrypoint gets it as a keyword argument. In a command it stands where `{name}` stands in an
    argument. A whole number is an int, however it was written.

    Args:
        spec: What is trained without them.
        parameters: The values by their names, such as the output `best` of `tuning/tune`.

    Raises:
        ConfigurationError: A value is not one of the setting, or a command does not use a parameter.
    """
    if spec.form == "entrypoint":
        return TrainingSpec(**{**spec.model_dump(), "settings": {**spec.settings, **parameters}})
    if spec.form == "command":
        return TrainingSpec(**{**spec.model_dump(), "command": _filled_in(spec.command, parameters)})
    of_loop = {name: value for name, value in parameters.items() if name in LoopSettings.model_fields}
    of_model = {name: value for name, value in parameters.items() if name not in of_loop}
    changed = {
        "loop": {**spec.loop.model_dump(), **of_loop},
        "model_settings": {**spec.model_settings, **of_model},
    }
    return TrainingSpec(**{**spec.model_dump(), **changed})


def _filled_in(command: list[str], parameters: Mapping[str, Value]) -> list[str]:
    unused = [name for name in parameters if not any(f"{{{name}}}" in each for each in command)]
    if unused:
        raise ConfigurationError(
            "A parameter of the search does not reach the command",
            received=f"no {', '.join(f'{{{name}}}' for name in unused)} in {' '.join(command)}",
            expected="each parameter in an argument, for example --learning-rate={learning_rate}",
            what_to_do="Write it into an argument of the command, or take it out of the space.",
        )

    def value_of(found: re.Match[str]) -> str:
        return written(whole_numbers(parameters[found[1]])) if found[1] in parameters else found[0]

    return [_PLACE.sub(value_of, each) for each in command]


def written(value: Value) -> str:
    """A value as Katib is told it, and as it stands in an argument or a variable."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)
