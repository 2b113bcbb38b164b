"""How an attempt ended, told by a file: torchrun turns every exit code into 1."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from stepworks.errors import CheckpointError, DataError, ResourceError, StepworksError, TrainingError, UserError
from stepworks.files import read_tail, write_atomically
from stepworks.supervisor.control import error_from_json, error_to_json
from stepworks.training.machine import refusal
from stepworks.training.workspace import Workspace

TRY_AGAIN_EXIT_CODE = 75
"""`EX_TEMPFAIL`: the attempt was ended from outside, and another one resumes."""

_LOG_TAIL_LINES = 20

UNEXPECTED = "The training code failed"
"""The problem of an error that is none of ours; the log has its traceback."""

# What gloo, NCCL and the store say when another process is gone. The errors have no class of their own in all versions.
_LOST_PEER_WORDS = ("connection closed by peer", "connection reset", "timed out", "gloo", "nccl", "broken pipe")

State = Literal["completed", "preempted", "stopped", "failed"]


class Outcome(BaseModel):
    """How an attempt ended. Training succeeded if the state is `completed` and the exit code is 0, never by one alone.

    Attributes:
        state: `completed`; `preempted` by SIGTERM; `stopped` by the STOP file; `failed`.
        step: The optimizer steps that were taken; None if none of ours counted them.
        committed_step: The step from which another attempt resumes; None if it would begin anew.
        error: The error of a failure, as data.
        permanent: Whether another attempt would fail the same way.
        lost_peer: Whether the process failed only because another had.
        rank: Which process wrote this.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    state: State
    step: int | None = None
    committed_step: int | None = None
    error: dict[str, Any] | None = None
    permanent: bool = False
    lost_peer: bool = False
    rank: int = 0

    @property
    def exit_code(self) -> int:
        """The exit code of the process that ended like this."""
        return {"completed": 0, "failed": 1}.get(self.state, TRY_AGAIN_EXIT_CODE)

    def raise_error(self) -> None:
        """Raise the error again, if there is one.

        Raises:
            StepworksError: As it was raised in the process that failed.
        """
        if self.error is not None:
            raise error_from_json(self.error)


def tells_of_lost_peer(text: str) -> bool:
    """Whether a message of torch, or the end of a log with one, is about another process that is gone."""
    return any(word in text.lower() for word in _LOST_PEER_WORDS)


def failure(
    error: BaseException,
    *,
    rank: int,
    lost_peer: bool = False,
    transient: bool = False,
    committed: int | None = None,
) -> Outcome:
    """The outcome of a process that ended by an exception.

    A mistake of the caller, bad data, a loss that is not finite and a fault in the user's code are permanent; what the
    machine refused, another process's end, or what is known to be `transient`, is not.
    """
    if not isinstance(error, StepworksError):
        error = refusal(error) or TrainingError(
            UNEXPECTED,
            received=f"{type(error).__name__}: {error}",
            what_to_do="Read the traceback in the log of the process; correct the code."
            # CUDA says no more, and says it late.
            + " Most often a label or a token is out of range; on the CPU it is named." * ("device-side" in str(error)),
        )
    transient = transient or lost_peer or isinstance(error, ResourceError)
    permanent = not transient and isinstance(error, (UserError, DataError, TrainingError, CheckpointError))
    return Outcome(
        state="failed",
        committed_step=committed,
        error=error_to_json(error),
        permanent=permanent,
        lost_peer=lost_peer,
        rank=rank,
    )


def write(workspace: Workspace, outcome: Outcome) -> None:
    """Write an outcome, unless one that says more about the attempt's end is there already.

    The first process that failed by itself counts; then one that lost another; then any that did not fail.
    """
    # A process that fails writes before it lets go of the others, so those that lose it find its outcome here.
    earlier = read(workspace)
    if earlier is not None and _weight(earlier) >= _weight(outcome):
        return
    write_atomically(workspace.outcome, outcome.model_dump_json(indent=1).encode())
    if outcome.permanent:
        write_permanent_error(workspace, outcome)


def read(workspace: Workspace) -> Outcome | None:
    """The outcome of the last attempt; None if none was written, or it cannot be read."""
    try:
        return Outcome.model_validate_json(workspace.outcome.read_bytes())
    except (OSError, ValidationError):
        return None


def raise_own_error(workspace: Workspace, outcome: Outcome | None, cause: StepworksError | None = None) -> None:
    """Raise the error of the process that failed first, if one said it: it says more than that its process ended.

    Args:
        workspace: The run's own folder; it has the log of the process.
        outcome: How the attempt ended; None if nothing says it.
        cause: What was seen from outside.

    Raises:
        StepworksError: As it was raised in the process; with the end of its log where we did not expect it.
    """
    if outcome is None or outcome.state != "failed" or outcome.lost_peer:
        return
    log = workspace.log(outcome.rank)
    try:
        outcome.raise_error()
    except StepworksError as error:
        error.what_to_do = f"{error.what_to_do} The log is {log}.".lstrip()
        if error.problem == UNEXPECTED:
            error.received = "\n".join(filter(None, [error.received, log_tail(log)]))
        raise error from cause


def log_tail(log: Path) -> str:
    """The last lines of a log, for a message."""
    return "\n".join(read_tail(log).splitlines()[-_LOG_TAIL_LINES:])


def write_permanent_error(workspace: Workspace, outcome: Outcome) -> None:
    """Have later attempts of the same spec fail at once."""
    mark = _PermanentError(spec=_digest(workspace.spec), outcome=outcome)
    write_atomically(workspace.permanent_error, mark.model_dump_json(indent=1).encode())


def refuse_if_permanent(workspace: Workspace) -> None:
    """Raise the error of an earlier attempt that another attempt would only meet again.

    Raises:
        StepworksError: As it was raised then. The mark is of another spec and is deleted, if the spec was changed.
    """
    try:
        mark = _PermanentError.model_validate_json(workspace.permanent_error.read_bytes())
    except (OSError, ValidationError):
        return
    if mark.spec != _digest(workspace.spec):
        workspace.permanent_error.unlink(missing_ok=True)
        return
    error = error_from_json(mark.outcome.error or {})
    error.what_to_do = (
        f"{error.what_to_do} An earlier attempt failed like this, and another would, too; once it is mended, delete "
        f"{workspace.permanent_error}."
    ).lstrip()
    raise error


class _PermanentError(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    spec: str
    outcome: Outcome


def _weight(outcome: Outcome) -> int:
    if outcome.state != "failed":
        return 0
    return 1 if outcome.lost_peer else 2


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
