"""Where a value of an IR file stands, and what gives the value of an input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

JsonPath: TypeAlias = tuple[str | int, ...]
"""The keys and indices that lead to a value of the IR, for example `("root", "dag", "tasks", "train")`."""


@dataclass(frozen=True, slots=True)
class TaskOutput:
    """The value comes from an output of a task of the same dag."""

    task: str
    key: str


@dataclass(frozen=True, slots=True)
class ComponentInput:
    """The value is an input of the component whose dag the task is in."""

    name: str


@dataclass(frozen=True, slots=True)
class Constant:
    """The value stands in the IR. A text may hold placeholders such as `{{$.pipeline_job_uuid}}`."""

    value: Any


@dataclass(frozen=True, slots=True)
class FinalStatus:
    """The value is how a task of the same dag ended; for exit handlers."""

    task: str


@dataclass(frozen=True, slots=True)
class UnknownSource:
    """The value comes from something that this reader does not know."""

    fields: tuple[str, ...]


Source: TypeAlias = TaskOutput | ComponentInput | Constant | FinalStatus | UnknownSource
