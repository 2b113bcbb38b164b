"""What is known of a step's parameters when its pipeline compiles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stepworks.errors import ConfigurationError


@dataclass(frozen=True)
class Later:
    """Stands in a mapping or a list for a value that only a run knows.

    Attributes:
        source: What gives the value: a parameter of the pipeline, or an output of a step.
        type: Its type, as kfp calls it: `String`, `Integer`, `NUMBER_DOUBLE`.
    """

    source: str
    type: str


def known_mapping(known: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A parameter that is a mapping, with what is known of it.

    Args:
        known: The parameters that are known.
        name: The parameter. It is taken for empty where it is not known, or is no mapping.

    Raises:
        ConfigurationError: It holds a value that Kubeflow Pipelines would hand over as text, and is no text: it fills
            such values in within a text alone.
    """
    value = known.get(name)
    if not isinstance(value, Mapping):
        return {}
    for place, later in _later(value, name):
        if later.type.upper() != "STRING":  # kfp writes it in both ways
            raise ConfigurationError(
                f"{place} would be a text in a run",
                received=f"{later.source} of the type {later.type}, within the mapping {name}",
                expected=f"values that are known when the pipeline compiles, texts, or {name} as a whole",
                what_to_do=f"Let the pipeline have a parameter {name}: dict[str, Any] = {{...}}, and give that.",
            )
    return {key: each for key, each in value.items() if not _later(each, name)}


def _later(value: Any, place: str) -> list[tuple[str, Later]]:
    if isinstance(value, Later):
        return [(place, value)]
    if isinstance(value, Mapping):
        return [found for key, each in value.items() for found in _later(each, f"{place}[{key!r}]")]
    if isinstance(value, list):
        return [found for number, each in enumerate(value) for found in _later(each, f"{place}[{number}]")]
    return []
