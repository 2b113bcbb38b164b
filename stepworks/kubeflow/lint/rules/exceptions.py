"""Rules about the configuration's own exceptions. `stepworks.kubeflow.lint.exceptions` finds them, not a look at IR."""

from __future__ import annotations

from collections.abc import Iterator

from stepworks.kubeflow.lint.finding import Severity
from stepworks.kubeflow.lint.rule import Context, Found, rule


@rule(
    "L01",
    Severity.ERROR,
    "An exception has expired",
    why="What it accepts was to be mended by that day; the findings count again.",
    do="Mend what it accepts and remove it, or decide anew: give it a later day and the reason for it.",
)
def expired_exception(_: Context) -> Iterator[Found]:
    """No exception of the configuration or the baseline is past its day."""
    yield from ()


@rule(
    "L02",
    Severity.WARNING,
    "An exception matches nothing",
    why="It may hide a later finding that nobody has decided about.",
    do="Remove it, or correct its rule, task, file or subject.",
)
def idle_exception(_: Context) -> Iterator[Found]:
    """Every exception for a file that is linted, and a rule that is selected, accepts something."""
    yield from ()
