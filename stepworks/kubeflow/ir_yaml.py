"""IR as YAML that people review: the same bytes for the same pipeline, code as code, one line where one will do."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Mapping
from typing import Any

import yaml

FOR_VERTEX = "# backend: vertex"
"""The comment by which a file for Vertex AI says what it is for: the IR has no field for it."""

_LINE = 150
"""A collection that fits into this many characters is written on one line."""


_TYPING_NAMES = {
    "Any",
    "Callable",
    "Dict",
    "List",
    "Literal",
    "Mapping",
    "NamedTuple",
    "Optional",
    "Sequence",
    "Tuple",
    "Union",
}
"""What a step may take from kfp's `from typing import *`; the same on every Python, so that the bytes are, too."""


class _Shared(str):
    """A text that is written once and referred to by a YAML alias after that: kfp's launcher of a step."""

    __slots__ = ()


def minimize(specification: dict[str, Any]) -> None:
    """Leave out of a pipeline's specification, in place, what only repeats the source.

    A step's code loses its comments, its docstring and its layout, so that a better explanation in the source
    changes neither a compiled file nor a cache key. The descriptions of inputs and outputs are in the component's
    README.md.
    """
    for component in specification["components"].values():
        for kind in ("inputDefinitions", "outputDefinitions"):
            for definitions in component.get(kind, {}).values():
                for definition in definitions.values():
                    definition.pop("description", None)
    launchers: dict[str, _Shared] = {}
    for executor in specification["deploymentSpec"]["executors"].values():
        command = executor.get("container", {}).get("command", [])
        if _runs_code(command):
            command[:] = minimize_command(command)
            command[-2] = launchers.setdefault(command[-2], _Shared(command[-2]))


def minimize_command(command: list[str]) -> list[str]:
    """The command of a step with its code and kfp's launcher made shorter; as it is if it runs no such code."""
    if not _runs_code(command):
        return command
    *before, launcher, code = command
    return [*before, re.sub(" {2,}", " ", launcher), minimize_code(code)]


def _runs_code(command: list[str]) -> bool:
    return len(command) > 1 and "_KFP_RUNTIME" in command[-2]


@functools.cache  # the same for each target
def minimize_code(code: str) -> str:
    """Write the code of a step again without comments, docstring and unused imports of kfp's preamble."""
    module = ast.parse(code)
    for function in module.body:
        if isinstance(function, ast.FunctionDef) and ast.get_docstring(function, clean=False):
            function.body = function.body[1:] or [ast.Pass()]
    used = {node.id for node in ast.walk(module) if isinstance(node, ast.Name)}
    module.body = [statement for statement in module.body if not _unused_import(statement, used)]
    return ast.unparse(module) + "\n"


def _unused_import(statement: ast.stmt, used: set[str]) -> bool:
    """Whether a statement of the preamble (`import kfp`, `from kfp import dsl`) imports nothing that is used."""
    if not isinstance(statement, ast.Import | ast.ImportFrom):
        return False
    names = [alias.asname or alias.name for alias in statement.names]
    if names == ["*"]:
        return isinstance(statement, ast.ImportFrom) and statement.module == "typing" and not used & _TYPING_NAMES
    return not used.intersection(names)


# The emitter in C writes the same bytes in a quarter of the time; a test holds the two against each other.
_SafeDumper: type[yaml.SafeDumper] = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Dumper(_SafeDumper):  # type: ignore[misc, valid-type]
    """Chooses for each node the shorter form that still reads well."""

    def ignore_aliases(self, data: Any) -> bool:
        return not isinstance(data, _Shared)


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style="|" if "\n" in text else None)


def _represent_mapping(dumper: yaml.SafeDumper, value: Mapping[str, Any]) -> yaml.MappingNode:
    return dumper.represent_mapping("tag:yaml.org,2002:map", value, flow_style=_fits(value))


def _represent_sequence(dumper: yaml.SafeDumper, value: list[Any]) -> yaml.SequenceNode:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=_fits(value))


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(_Shared, _represent_text)
_Dumper.add_representer(dict, _represent_mapping)
_Dumper.add_representer(list, _represent_sequence)
# What was read from a file knows its position, and is written like any other.
_Dumper.add_multi_representer(dict, _represent_mapping)
_Dumper.add_multi_representer(list, _represent_sequence)


def _fits(value: Any) -> bool:
    """Whether a collection goes on one line: it is short, or flat, and holds no text of several lines."""
    children = value.values() if isinstance(value, dict) else value
    if any(isinstance(child, dict | list) for child in children):
        return _length(value) <= _LINE
    return not any(isinstance(child, str) and "\n" in child for child in children)


def _length(value: Any) -> int:
    """About how many characters a value takes on one line; more than a line when a text has several.

    It stops where a line is full: the larger collections of a file are full soon, and are looked at once a level.
    """
    if isinstance(value, str):
        return len(value) + 2 if "\n" not in value else _LINE + 1
    if isinstance(value, dict):
        length = 2
        for key, child in value.items():
            length += len(key) + 4 + _length(child)
            if length > _LINE:
                break
        return length
    if isinstance(value, list):
        length = 2
        for child in value:
            length += 2 + _length(child)
            if length > _LINE:
                break
        return length
    return len(str(value))


def to_yaml(documents: list[dict[str, Any]]) -> str:
    """Write the documents of an IR file."""
    return yaml.dump_all(documents, Dumper=_Dumper, sort_keys=True, width=10_000, allow_unicode=True)
