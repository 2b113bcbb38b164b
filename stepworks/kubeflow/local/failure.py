"""The page that a failed step leaves on the terminal: what, why, what to do, where the log is."""

from __future__ import annotations

import re
import signal
from pathlib import Path

from stepworks.files import read_tail
from stepworks.kubeflow.local.step_log import ATTEMPT_MARK, clipped, printable
from stepworks.supervisor.processes import log_tail

_TAIL_BYTES = 256 * 1024
_SHOWN_LINES = 60
_TRACEBACK = re.compile(r"^Traceback \(most recent call last\):$", re.MULTILINE)
_EXCEPTION = re.compile(r"^(?:[A-Za-z_]\w*\.)*(?P<name>[A-Za-z_]\w*)(?:: (?P<message>.*))?$")
_UNCAUGHT = 1
"""The exit code of Python for an exception that nobody caught."""


def explain_failure(exit_code: int | None, log: Path) -> str:
    """Say why a step failed: the exception that ended it with its whole message, or how its process ended.

    Args:
        exit_code: How its last attempt ended; negative for a signal, None when it could not be started.
        log: What it printed.
    """
    _, _, last_attempt = read_tail(log, _TAIL_BYTES).rpartition(ATTEMPT_MARK)
    exception = last_exception(last_attempt) if exit_code == _UNCAUGHT else None
    return _shown(exception or f"{_describe_exit(exit_code)}\n  Last lines of the log:\n{log_tail(log)}")


def last_exception(text: str) -> str | None:
    """The exception that ends a log, its message whole; None when there is none.

    An error of this library is shown by its message alone, any other with its class, which is part of the
    message there.
    """
    tracebacks = list(_TRACEBACK.finditer(text))
    if not tracebacks:
        return None
    lines = text[tracebacks[-1].end() :].strip("\n").splitlines()
    for number, line in enumerate(lines):
        match = _EXCEPTION.match(line)
        if match:
            message = [match["message"] or "", *lines[number + 1 :]]
            ours = line.startswith("stepworks.errors.")
            return "\n".join(message if ours else [f"{match['name']}: {message[0]}", *message[1:]]).rstrip()
    return None


def _describe_exit(exit_code: int | None) -> str:
    if exit_code is None:
        return "The step's process could not be started"
    if exit_code >= 0:
        return f"The step's process ended with exit code {exit_code}"
    if exit_code == -signal.SIGKILL:
        return (
            "The step's process was ended by SIGKILL\n"
            "  What to do: if you did not kill it, the machine ran out of memory: close programs, or give the step "
            "smaller data"
        )
    known = {each.value for each in signal.Signals}
    name = signal.Signals(-exit_code).name if -exit_code in known else f"signal {-exit_code}"
    return f"The step's process was ended by {name}"


def _shown(text: str) -> str:
    """A text that can neither flood nor steer a terminal."""
    lines = printable(text).splitlines()
    more = [f"… and {len(lines) - _SHOWN_LINES} more lines"] if len(lines) > _SHOWN_LINES else []
    return "\n".join([*(clipped(line) for line in lines[:_SHOWN_LINES]), *more])
