"""References to builders: `package.module:name`, as a pipeline writes them."""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.machinery
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from stepworks.errors import ConfigurationError


def resolve(reference: str, *, role: str) -> Callable[..., Any]:
    """Import what a reference names.

    Args:
        reference: `package.module:name`, importable where the step runs.
        role: What it is for, as an error message says it: `model`, `data`.

    Raises:
        ConfigurationError: The text is not a reference, does not import, or names nothing that can be called.
    """
    module_name, name = _parts(reference, role)
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise _no_module(reference, role, str(error)) from error
    builder = getattr(module, name, None)
    if not callable(builder):
        raise _nothing_to_call(reference, role, "missing" if builder is None else type(builder).__name__)
    return builder  # type: ignore[no-any-return]  # a module's attribute has no static type


def check(reference: str, *, role: str, folders: Sequence[str] = ()) -> None:
    """See that a reference names something in a module that is there, and import nothing for it.

    So it can be asked where a pipeline compiles, on a machine without torch. A name that the module only imports or
    computes counts as there.

    Args:
        reference: `package.module:name`.
        role: What it is for, as an error message says it: `model`, `data`.
        folders: Where modules are looked for before Python's own path.

    Raises:
        ConfigurationError: The text is not a reference, there is no such module, or nothing in it has this name.
    """
    module_name, name = _parts(reference, role)
    path = _source(module_name, [*folders, *sys.path])
    if path is None:
        raise _no_module(reference, role, f"no module named {module_name!r} is found")
    if not path.endswith(".py"):
        return  # compiled: what is in it shows when it is imported
    tree = ast.parse(importlib.util.decode_source(_read(path)), path)
    bound = set(_names(tree.body))
    if name not in bound and "*" not in bound:
        near = difflib.get_close_matches(name, bound, n=1)
        raise _nothing_to_call(reference, role, f"missing; there is {near[0]}" if near else "missing")


def is_here(package: str, folders: Sequence[str] = ()) -> bool:
    """Whether there is a package, or a module, of a name in the folders or on Python's path; it is not imported."""
    return importlib.machinery.PathFinder.find_spec(package, [*folders, *sys.path]) is not None


def _source(module_name: str, search: list[str]) -> str | None:
    """The file of a module; its packages are looked into and not imported."""
    *packages, last = module_name.split(".")
    for package in packages:
        spec = importlib.machinery.PathFinder.find_spec(package, search)
        if spec is None or spec.submodule_search_locations is None:
            return None
        search = list(spec.submodule_search_locations)
    spec = importlib.machinery.PathFinder.find_spec(last, search)
    return spec.origin if spec is not None else None


def _read(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123 - as the import system gives it
        return file.read()


def _names(body: list[ast.stmt]) -> Iterator[str]:
    """The names that statements of a module bind, `*` for those that cannot be known."""
    for statement in body:
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield statement.name
            case ast.Import() | ast.ImportFrom():
                for alias in statement.names:
                    yield alias.asname or alias.name.partition(".")[0]
            case ast.Assign() | ast.AnnAssign():
                targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
                for target in targets:
                    yield from (node.id for node in ast.walk(target) if isinstance(node, ast.Name))
            case ast.If() | ast.Try() | ast.With():
                for part in ("body", "orelse", "finalbody"):
                    yield from _names(getattr(statement, part, []))
                for handler in getattr(statement, "handlers", []):
                    yield from _names(handler.body)


def _parts(reference: str, role: str) -> tuple[str, str]:
    module_name, separator, name = reference.partition(":")
    if not (separator and module_name and name):
        raise ConfigurationError(
            f"The {role} reference is not of the form package.module:name",
            received=repr(reference),
            expected="for example stepworks.training.tabular:build_model",
            what_to_do=f"Correct the {role} parameter.",
        )
    return module_name, name


def _no_module(reference: str, role: str, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"The {role} reference does not import",
        received=f"{reference!r}: {reason}",
        expected="a module that the step's image holds",
        what_to_do="Correct the name, or add the module to the image.",
    )


def _nothing_to_call(reference: str, role: str, found: str) -> ConfigurationError:
    return ConfigurationError(
        f"The {role} reference names nothing that can be called",
        received=f"{reference!r} is {found}",
        expected="a function",
        what_to_do=f"Correct the {role} parameter.",
    )


def build(reference: str, *arguments: object, role: str, settings: dict[str, Any] | None = None) -> Any:
    """Call the builder that a reference names.

    Args:
        reference: `package.module:name`.
        *arguments: What every builder of this role is called with.
        role: What it is for, as an error message says it: `model`, `data`.
        settings: Its keyword arguments.

    Raises:
        ConfigurationError: As of `resolve`, or the builder does not take these arguments.
    """
    builder, settings = resolve(reference, role=role), settings or {}
    signature = inspect.signature(builder)
    try:
        signature.bind(*arguments, **settings)
    except TypeError as error:
        given = ", ".join([*(type(argument).__name__ for argument in arguments), *map(repr, settings)])
        raise ConfigurationError(
            f"The {role} builder {reference} does not take what it is called with",
            received=f"{given}: {error}",
            expected=f"arguments of {reference}{signature}",
            what_to_do=f"Correct the builder, or the parameter {role}_settings."
            if settings
            else "Correct the builder.",
        ) from error
    return builder(*arguments, **settings)
