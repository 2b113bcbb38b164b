"""The page that a failed step leaves on the terminal: what, why, what to do, where the log is."""

from __future__ import annotations

import re
import signal
from pathlib import Path

from stepworks.files import read_tail
from stepworks.kubeflow.local.steps import Step
from stepworks.supervisor.processes import log_tail

ATTEMPT_MARK = "\n--- attempt "
"""Stands in a log between the attempts of a step."""

_TRACEBACK = "Traceback (most recent call last):"
_EXCEPTION = re.compile(r"^(?:[A-Za-z_][\w]*\.)*(?P<name>[A-Za-z_]\w*)(?:: (?P<message>.*))?$")


def explain_failure(step: Step, log: Path) -> str:
    """Say why a step failed: the exception that ended it with its whole message, or how its process ended."""
    _, _, last_attempt = read_tail(log).rpartition(ATTEMPT_MARK)
    exception = last_exception(last_attempt)
    if exception and not (step.exit_code or 0) < 0:
        return exception
    return f"{_describe_exit(step.exit_code)}\n  Last lines of the log:\n{log_tail(log)}"


def last_exception(text: str) -> str | None:
    """The exception that ends the last traceback of a log, its message whole; None when there is none.

    An error of this library is shown by its message alone, any other with its class, which is part of the
    message there.
    """
    _, separator, after = text.rpartition(_TRACEBACK)
    if not separator:
        return None
    lines = after.splitlines()
    for number, line in enumerate(lines[1:], start=1):
        match = _EXCEPTION.match(line)
        if match:
            message = [match["message"] or "", *_continued(lines[number + 1 :])]
            ours = line.startswith("stepworks.errors.")
            return "\n".join(message if ours else [f"{match['name']}: {message[0]}", *message[1:]]).rstrip()
    return None


def _continued(lines: list[str]) -> list[str]:
    """The lines that belong to an exception's message: up to a blank one."""
    end = next((number for number, line in enumerate(lines) if not line.strip()), len(lines))
    return lines[:end]


def _describe_exit(exit_code: int | None) -> str:
    if exit_code is None:
        return "The step's process could not be started"
    if exit_code < 0:
        name = signal.Signals(-exit_code).name
        hint = (
            "\n  What to do: if you did not kill it, the machine ran out of memory: close programs, or give the step "
            "smaller data"
            if name == "SIGKILL"
            else ""
        )
        return f"The step's process was ended by {name}{hint}"
    return f"The step's process ended with exit code {exit_code} and no exception"
