"""Files that people write: YAML of one shape, each fault told by file, line and field.

Targets, environments and the linter's configuration are such files.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from stepworks.errors import ConfigurationError, NotFoundError, ParameterError

LARGEST_FILE = 4 * 1024 * 1024
"""In bytes. Most have some hundred lines; a baseline of lint with 10,000 findings has 3 million bytes."""

LOCATED_FAULT = "located_fault"
"""The type of an error that knows which field it is about: its context holds the field's path under `at`."""


_Model = TypeVar("_Model", bound=BaseModel)


class Setting(BaseModel):
    """A part of such a file: frozen, checked when it is built, without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_fields(cls, content: Any) -> Any:
        """Tell an unknown field with the nearest known one, where pydantic would say only that it is extra."""
        if isinstance(content, dict):
            for name in content:
                if name not in cls.model_fields:
                    raise _unknown(str(name), cls.model_fields)
        return content


def whole_numbers(value: Any) -> Any:
    """A value with its whole numbers as int: Kubeflow Pipelines knows one kind of number in a mapping or a list."""
    if isinstance(value, Mapping):
        return {name: whole_numbers(each) for name, each in value.items()}
    if isinstance(value, list):
        return [whole_numbers(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


class ParameterValue(Setting):
    """A setting that a step is given as one parameter; it is read by `from_parameter`."""

    def to_json(self) -> dict[str, Any]:
        """The value of a parameter of Kubeflow Pipelines, without what is left at its default."""
        return self.model_dump(mode="json", exclude_defaults=True)


def from_parameter(
    model: type[_Model], value: Mapping[str, Any], *, name: str, expected: str, what_to_do: str
) -> _Model:
    """Read a model from a parameter of a step, also after Kubeflow Pipelines has made every number in it a float.

    Args:
        model: What the parameter holds.
        value: Its value.
        name: Its name, for the message.
        expected: What should have been there.
        what_to_do: The next action of the reader.

    Raises:
        ParameterError: It is nothing that the model writes.
    """
    try:
        return model.model_validate(whole_numbers(value))
    except ValidationError as error:
        raise ParameterError(
            f"The parameter {name} is wrong",
            received=describe_faults(error),
            expected=expected,
            what_to_do=what_to_do,
        ) from error


def _unknown(name: str, known: Iterable[str]) -> PydanticCustomError:
    near = difflib.get_close_matches(name, known, n=1)
    advice = f"did you mean {near[0]}?" if near else f"the fields are {', '.join(known)}"
    return located_fault((name,), f"there is no field {name}; {advice}")


def located_fault(at: Sequence[str], message: str) -> PydanticCustomError:
    """An error of a validator about one field of what it validates; `at` is the field's path in it."""
    return PydanticCustomError(LOCATED_FAULT, "{message}", {"message": message, "at": tuple(at)})


MOST_VALUES = 100_000
"""Values in a file, with each use of a YAML alias counted."""

_OF_KEY = "[key]"
_OF_NUMBERS = ("int_", "float_", "greater_than", "less_than", "multiple_of", "finite_number")
_MOST_SHOWN = 40
"""What pydantic adds to a key's path when the key itself is wrong, and not its value."""

_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _StrictLoader(_Loader):  # type: ignore[misc, valid-type]
    """Refuses a key that comes twice in a mapping: YAML keeps the last one and drops the other in silence."""


def _construct_mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[str] = set()
    for key, _ in node.value:
        if str(key.value) in seen:
            raise yaml.constructor.ConstructorError(None, None, f"the key {key.value!r} comes twice", key.start_mark)
        seen.add(str(key.value))
    return loader.construct_mapping(node, deep=True)


_StrictLoader.add_constructor("tag:yaml.org,2002:map", _construct_mapping)


def read_settings(path: Path, model: type[_Model], kind: str, described_in: str) -> _Model:
    """Read a file into a model. Where the model has a name, the file must have it, too.

    Args:
        path: The file.
        model: What it holds.
        kind: What the file is called in messages: `target file`.
        described_in: The page that describes its fields.

    Raises:
        NotFoundError: There is no such file.
        ConfigurationError: It is not YAML, or a field is wrong; the message names the line and the field. Or it has
            another name than its file.
    """
    text = _read_text(path, kind)
    content = _parse(path, text, kind)
    try:
        settings = model.model_validate(content)
    except ValidationError as error:
        raise _explain(path, text, error, kind, described_in) from error
    name = getattr(settings, "name", path.stem)
    if name != path.stem:
        raise ConfigurationError(
            f"The {kind} {path} has another name than the one in it",
            received=f"name: {name}",
            expected=f"name: {path.stem}",
            what_to_do="Rename one of them.",
        )
    return settings


def _read_text(path: Path, kind: str) -> str:
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise NotFoundError(
            f"There is no {kind} {path}", expected="the path of a YAML file", what_to_do="Correct the path."
        ) from error
    except OSError as error:
        raise ConfigurationError(
            f"The {kind} {path} cannot be read", received=f"{type(error).__name__}: {error.strerror}"
        ) from error
    if len(content) > LARGEST_FILE:
        raise ConfigurationError(
            f"{path} is no {kind}",
            received=f"{len(content)} bytes",
            expected=f"at most {LARGEST_FILE} bytes",
            what_to_do="Correct the path.",
        )
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _not_yaml(path, 1, str(error), kind) from error


def _parse(path: Path, text: str, kind: str) -> Any:
    try:
        content = yaml.load(text, Loader=_StrictLoader)  # noqa: S506  # a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        raise _not_yaml(path, mark.line + 1 if mark else 1, problem, kind) from error
    if _holds_more_than(content, MOST_VALUES):
        raise ConfigurationError(
            f"The {kind} {path} is too large",
            received=f"more than {MOST_VALUES} values, with each use of an alias counted",
            expected="some hundred",
            what_to_do="Write out what the aliases stand for.",
        )
    return content


def _holds_more_than(content: Any, limit: int) -> bool:
    """Whether content has more values than a limit; it ends also where an alias holds itself."""
    waiting, count = [content], 1
    while waiting:
        value = waiting.pop()
        children = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
        count += len(children)
        if count > limit:
            return True
        waiting.extend(children)
    return False


def _not_yaml(path: Path, line: int, problem: str, kind: str) -> ConfigurationError:
    return ConfigurationError(
        f"The {kind} {path} is not YAML", received=f"{path}:{line}: {problem}", what_to_do="Correct the file."
    )


def _explain(path: Path, text: str, error: ValidationError, kind: str, described_in: str) -> ConfigurationError:
    """Say what is wrong, each fault with its line and field."""
    root = yaml.compose(text, Loader=_Loader)
    lines = [
        f"{path}:{line_of(root, field)}: {'.'.join(map(str, field)) or 'the file'}: {message}"
        for field, message in faults(error)
    ]
    return ConfigurationError(
        f"The {kind} {path} is wrong",
        received="\n    ".join(["", *lines]) if len(lines) > 1 else lines[0],
        expected=f"the fields that {described_in} describes",
        what_to_do="Correct the file.",
    )


def faults(error: ValidationError) -> list[tuple[tuple[str | int, ...], str]]:
    """What is wrong, as pydantic found it.

    Args:
        error: The error of a model, a TypeAdapter, or anything else of pydantic.

    Returns:
        Each fault's field, as keys and indices that lead to it, and its message. The field is empty for what is wrong
        as a whole; that of a mapping's wrong key ends with the key.
    """
    found = []
    for fault in error.errors(include_url=False):
        at = fault["ctx"]["at"] if fault["type"] == LOCATED_FAULT else ()
        field = (*(part for part in fault["loc"] if part != _OF_KEY), *at)
        found.append((field, fault["msg"].removeprefix("Value error, ") + _received(fault)))
    return found


def _received(fault: ErrorDetails) -> str:
    """What a number was instead; of other values, which may be secret or long, nothing is said."""
    if fault["type"].startswith(_OF_NUMBERS) and isinstance(fault["input"], int | float | str):
        return f", not {repr(fault['input'])[:_MOST_SHOWN]}"
    return ""


def validated(
    model: type[_Model], given: Mapping[str, Any], *, problem: str, expected: str = "", what_to_do: str
) -> _Model:
    """Validate what a step, a command or a notebook was given.

    Args:
        model: What it is to be.
        given: Its fields.
        problem: What is wrong, for the message: `The Job is wrong`.
        expected: What was expected, for the message.
        what_to_do: The next action of the reader.

    Raises:
        ConfigurationError: A value is wrong; the message names the field.
    """
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise ConfigurationError(
            problem, received=describe_faults(error), expected=expected, what_to_do=what_to_do
        ) from error


def describe_faults(error: ValidationError) -> str:
    """The faults of a value that has no lines: `field: message; field: message`."""
    return "; ".join(
        f"{'.'.join(map(str, field))}: {message}" if field else message for field, message in faults(error)
    )


def compose(path: Path) -> yaml.Node | None:
    """The nodes of a file that `read_settings` has read, for `line_of`; None when the file is empty."""
    node: yaml.Node | None = yaml.compose(path.read_text(encoding="utf-8"), Loader=_Loader)
    return node


def line_of(root: yaml.Node | None, field: Sequence[str | int]) -> int:
    """The line of a field, counted from 1; of the innermost part that is there, if the field is missing."""
    node, line = root, root.start_mark.line + 1 if root else 1
    for part in field:
        found = None
        if isinstance(node, yaml.MappingNode):
            found = next((pair for pair in node.value if pair[0].value == str(part)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            found = (node.value[part], node.value[part])
        if found is None:
            break
        line, node = found[0].start_mark.line + 1, found[1]
    return line
