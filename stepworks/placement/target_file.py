"""Reading a target's file, and telling what is wrong with it by file, line and field."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from stepworks.errors import ConfigurationError, NotFoundError
from stepworks.placement.setting import LOCATED_FAULT

LARGEST_FILE = 1024 * 1024
"""In bytes. A target's file has some hundred lines; what is larger is another file."""

_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _TargetLoader(_Loader):  # type: ignore[misc, valid-type]
    """Refuses a key that comes twice in a mapping: YAML keeps the last one and drops the other in silence."""


def _construct_mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[str] = set()
    for key, _ in node.value:
        if key.value in seen:
            raise yaml.constructor.ConstructorError(None, None, f"the key {key.value!r} comes twice", key.start_mark)
        seen.add(str(key.value))
    return loader.construct_mapping(node, deep=True)


_TargetLoader.add_constructor("tag:yaml.org,2002:map", _construct_mapping)


def read_text(path: Path) -> str:
    """Read a target's file.

    Raises:
        NotFoundError: There is no such file.
        ConfigurationError: It is too large, or no text.
    """
    try:
        content = path.read_bytes()
        if len(content) > LARGEST_FILE:
            raise ConfigurationError(
                f"{path} is no target file",
                received=f"{len(content)} bytes",
                expected=f"at most {LARGEST_FILE} bytes",
                what_to_do="Name the folder of the targets with --targets.",
            )
        return content.decode("utf-8")
    except FileNotFoundError as error:
        raise NotFoundError(f"There is no target file {path}") from error
    except OSError as error:
        raise ConfigurationError(
            f"The target file {path} cannot be read", received=f"{type(error).__name__}: {error.strerror}"
        ) from error
    except UnicodeDecodeError as error:
        raise _not_yaml(path, 1, str(error)) from error


def parse(path: Path, text: str) -> Any:
    """Parse a target's YAML; ConfigurationError with the line if it is none."""
    try:
        return yaml.load(text, Loader=_TargetLoader)  # noqa: S506  # a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        raise _not_yaml(path, mark.line + 1 if mark else 1, problem) from error


def _not_yaml(path: Path, line: int, problem: str) -> ConfigurationError:
    return ConfigurationError(
        f"The target file {path} is not YAML", received=f"{path}:{line}: {problem}", what_to_do="Correct the file."
    )


def explain(path: Path, text: str, error: ValidationError) -> ConfigurationError:
    """Say what is wrong with a target's content, each fault with its line and field."""
    root = yaml.compose(text, Loader=_Loader)
    faults = []
    for fault in error.errors(include_url=False, include_input=False):
        field = [*fault["loc"]]
        if fault["type"] == LOCATED_FAULT:
            field.extend(fault["ctx"]["at"])
        line = line_of(root, field)
        message = fault["msg"].removeprefix("Value error, ")
        faults.append(f"{path}:{line}: {'.'.join(map(str, field)) or 'the file'}: {message}")
    return ConfigurationError(
        f"The target file {path} is wrong",
        received="\n    ".join(["", *faults]) if len(faults) > 1 else faults[0],
        expected="the fields that docs/targets.md describes",
        what_to_do="Correct the file.",
    )


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
