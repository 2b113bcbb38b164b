"""References to builders: `package.module:name`, as a pipeline writes them."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
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
    module_name, separator, name = reference.partition(":")
    if not (separator and module_name and name):
        raise ConfigurationError(
            f"The {role} reference is not of the form package.module:name",
            received=repr(reference),
            expected="for example stepworks.training.tabular:build_model",
            what_to_do=f"Correct the {role} parameter.",
        )
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigurationError(
            f"The {role} reference does not import",
            received=f"{reference!r}: {error}",
            expected="a module that the step's image holds",
            what_to_do="Correct the name, or add the module to the image.",
        ) from error
    builder = getattr(module, name, None)
    if not callable(builder):
        raise ConfigurationError(
            f"The {role} reference names nothing that can be called",
            received=f"{reference!r} is {'missing' if builder is None else type(builder).__name__}",
            expected="a function",
            what_to_do=f"Correct the {role} parameter.",
        )
    return builder  # type: ignore[no-any-return]  # a module's attribute has no static type


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
