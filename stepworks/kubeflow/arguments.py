"""Parameters of a run, as `-p name=value` or a file gives them."""

from __future__ import annotations

import inspect
import json
import math
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from stepworks.errors import ParameterError
from stepworks.kubeflow.ir.model import InputDefinition
from stepworks.kubeflow.pipeline import Pipeline

_TRUE, _FALSE = ("true", "yes", "1"), ("false", "no", "0")


@dataclass(frozen=True)
class Declared:
    """A parameter as a pipeline declares it.

    Attributes:
        kind: The Python type of its values: str, int, float, bool, list or dict.
        required: Whether it has no default.
    """

    kind: type
    required: bool


KINDS = {"NUMBER_INTEGER": int, "NUMBER_DOUBLE": float, "BOOLEAN": bool, "LIST": list, "STRUCT": dict}
"""The parameter types of the IR; any other is a text."""


def declared_by(pipeline: Pipeline) -> dict[str, Declared]:
    """The parameters of a pipeline function."""
    return {
        name: Declared(
            typing.get_origin(parameter.annotation) or parameter.annotation,  # list[str] is a list
            parameter.default is inspect.Parameter.empty,
        )
        for name, parameter in pipeline.parameters().items()
    }


def declared_in_ir(inputs: Mapping[str, InputDefinition]) -> dict[str, Declared]:
    """The parameters of a compiled pipeline."""
    return {
        name: Declared(KINDS.get(each.type, str), not (each.optional or each.has_default))
        for name, each in inputs.items()
    }


def parse_arguments(pipeline: str, declared: Mapping[str, Declared], assignments: Iterable[str]) -> dict[str, Any]:
    """Read `name=value` texts as arguments of a pipeline, each by the type that its parameter is declared with.

    Args:
        pipeline: The name of the pipeline, for messages.
        declared: Its parameters.
        assignments: The texts.

    Raises:
        ParameterError: A text is no assignment, names no parameter, or its value has another type; or a
            parameter without a default is not given.
    """
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
        arguments[name] = parse_value(name, value, _declaration(pipeline, declared, name, assignment).kind)
    _require_all(pipeline, declared, arguments)
    return arguments


def check_arguments(pipeline: str, declared: Mapping[str, Declared], arguments: Mapping[str, Any]) -> None:
    """See that values, as a file gives them, are what a pipeline takes.

    Raises:
        ParameterError: A name is no parameter, a value has another type, or one without a default is not given.
    """
    for name, value in arguments.items():
        kind = _declaration(pipeline, declared, name, f"{name}: {value!r}").kind
        number = kind is float and isinstance(value, int | float)
        fits = isinstance(value, bool) is (kind is bool) and (isinstance(value, kind) or number)
        if not fits or not _is_json(value):
            raise _wrong_type(name, repr(value), kind, f"Correct {name} in the file.")
    _require_all(pipeline, declared, arguments)


def _is_json(value: Any) -> bool:
    """Whether a value of a file can go to Kubeflow as it is: no dates, no NaN, at any depth."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


def _declaration(pipeline: str, declared: Mapping[str, Declared], name: str, received: str) -> Declared:
    if name not in declared:
        raise ParameterError(
            f"The pipeline {pipeline} has no parameter {name}",
            received=received,
            expected=f"one of {', '.join(declared) or 'none'}",
            what_to_do=f"Correct the name; see stepworks pipelines {pipeline}",
        )
    return declared[name]


def _require_all(pipeline: str, declared: Mapping[str, Declared], arguments: Mapping[str, Any]) -> None:
    missing = [name for name, parameter in declared.items() if parameter.required and name not in arguments]
    if missing:
        raise ParameterError(
            f"The pipeline {pipeline} needs parameters that are not given",
            received=", ".join(arguments) or "none",
            expected=", ".join(missing),
            what_to_do="Give each with -p name=value.",
        )


def parse_value(name: str, value: str, kind: type) -> Any:
    """Read the text of a value by its type.

    Args:
        name: Whose value it is, for the message.
        value: The text.
        kind: The type: str, int, float, bool, list or dict.

    Raises:
        ParameterError: It is of another type.
    """
    try:
        if kind is bool:
            return _parse_bool(value)
        if kind in (int, float):
            return _parse_number(value, kind)
        if kind in (list, dict):
            return _parse_json(value, kind)
    except ValueError as error:
        raise _wrong_type(name, repr(value), kind, f"Correct -p {name}=…") from error
    return value


def _wrong_type(name: str, received: str, kind: type, what_to_do: str) -> ParameterError:
    form = " in JSON" if kind in (list, dict) else ", a finite number" if kind is float else ""
    return ParameterError(
        f"The parameter {name} has a value of the wrong type",
        received=received,
        expected=f"{kind.__name__}{form}",
        what_to_do=what_to_do,
    )


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
