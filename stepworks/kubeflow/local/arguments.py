"""Parameters of a run, as `-p name=value` gives them."""

from __future__ import annotations

import inspect
import json
import math
import typing
from collections.abc import Iterable
from typing import Any

from stepworks.errors import ParameterError
from stepworks.kubeflow.pipeline import Pipeline

_TRUE, _FALSE = ("true", "yes", "1"), ("false", "no", "0")


def parse_arguments(pipeline: Pipeline, assignments: Iterable[str]) -> dict[str, Any]:
    """Read `name=value` texts as arguments of a pipeline, each by the type that its parameter is declared with.

    Raises:
        ParameterError: A text is no assignment, names no parameter, or its value has another type; or a
            parameter without a default is not given.
    """
    parameters = pipeline.parameters()
    arguments: dict[str, Any] = {}
    for assignment in assignments:
        name, separator, value = assignment.partition("=")
        if not separator or not name:
            raise ParameterError(
                "A parameter is not of the form name=value", received=assignment, what_to_do="Write -p name=value."
            )
        if name in arguments:
            raise ParameterError(
                f"The parameter {name} is given twice",
                received=f"{arguments[name]!r} and {value!r}",
                what_to_do="Give it once.",
            )
        if name not in parameters:
            raise ParameterError(
                f"The pipeline {pipeline.name} has no parameter {name}",
                received=assignment,
                expected=f"one of {', '.join(parameters) or 'none'}",
                what_to_do=f"Correct the name; see stepworks pipelines {pipeline.name}",
            )
        arguments[name] = _parse(name, value, parameters[name].annotation)
    missing = [
        name
        for name, parameter in parameters.items()
        if parameter.default is inspect.Parameter.empty and name not in arguments
    ]
    if missing:
        raise ParameterError(
            f"The pipeline {pipeline.name} needs parameters that are not given",
            received=", ".join(arguments) or "none",
            expected=", ".join(missing),
            what_to_do="Give each with -p name=value.",
        )
    return arguments


def _parse(name: str, value: str, annotation: Any) -> Any:
    kind = typing.get_origin(annotation) or annotation  # list[str] is a list
    try:
        if kind is bool:
            return _parse_bool(value)
        if kind in (int, float):
            return _parse_number(value, kind)
        if kind in (list, dict):
            return _parse_json(value, kind)
    except ValueError as error:
        form = " in JSON" if kind in (list, dict) else ", a finite number" if kind is float else ""
        raise ParameterError(
            f"The parameter {name} has a value of the wrong type",
            received=repr(value),
            expected=f"{kind.__name__}{form}",
            what_to_do=f"Correct -p {name}=…",
        ) from error
    return value


def _parse_number(value: str, kind: type[int] | type[float]) -> int | float:
    number = kind(value)
    if not math.isfinite(number):
        raise ValueError(value)
    return number


def _parse_json(value: str, kind: type) -> Any:
    parsed = json.loads(value)
    if not isinstance(parsed, kind):
        raise ValueError(value)  # noqa: TRY004  # as any other text that is no such value
    return parsed


def _parse_bool(value: str) -> bool:
    if value.lower() in _TRUE:
        return True
    if value.lower() in _FALSE:
        return False
    raise ValueError(value)
