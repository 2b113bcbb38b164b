"""Start the processes of a training run on this machine, and say how it ended."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from stepworks.errors import TrainingEndedError, TrainingError
from stepworks.files import Tail, read_tail
from stepworks.training import outcome as outcomes
from stepworks.training.cpus import share_cpus
from stepworks.training.outcome import Outcome
from stepworks.training.spec import TrainingSpec
from stepworks.training.workspace import LIFELINE_VARIABLE, LOG_VARIABLE, Workspace

_POLL_SECONDS = 0.1
_OVERTIME_SECONDS = 5.0
"""How long after the grace period torchrun may take to end by itself."""

_OF_A_STEP = "_KFP_RUNTIME"


def run(spec: TrainingSpec, workspace: Workspace, *, processes: int = 1) -> Outcome:
    """Train on this machine, and wait for the end. What rank 0 prints is printed here.

    SIGTERM is handed on: the processes commit a checkpoint, and this raises. When it returns or raises, none of the
    processes is left; they also end if this process is killed.

    Args:
        spec: What to train.
        workspace: The run's own folder; a later attempt that gives the same folder resumes.
        processes: How many; more than one are started by torchrun.

    Returns:
        The outcome, whose state is `completed`.

    Raises:
        StepworksError: The error of the process that failed first, or of an earlier attempt if it is permanent.
        TrainingEndedError: Training was ended from outside; another attempt resumes.
        TrainingError: A process was killed; another attempt resumes.
    """
    workspace.make()
    spec.write(workspace.spec)
    outcomes.refuse_if_permanent(workspace)
    for leftover in (workspace.outcome, workspace.stop_file, *workspace.logs.glob("rank-*")):
        leftover.unlink(missing_ok=True)
    with _started(spec, workspace, processes) as process:
        terminated = _wait(process, spec.grace_seconds, workspace)
    return _judge(workspace, process.returncode, terminated=terminated)


@contextmanager
def _started(spec: TrainingSpec, workspace: Workspace, processes: int) -> Iterator[subprocess.Popen[bytes]]:
    """The processes, whose standard input is a pipe that only this process holds: when it closes, they end."""
    worker = ["-m", "stepworks.training.worker", str(workspace.root)]
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "--max-restarts=0"]
    environment = {
        # By it kfp takes a process for a step that it has started, and leaves out of itself what a pipeline is made of.
        **{name: value for name, value in os.environ.items() if name != _OF_A_STEP},
        **workspace.environment(spec.inputs, spec.grace_seconds),
        LOG_VARIABLE: "1",
        LIFELINE_VARIABLE: "1",
        # How long torchrun lets the others end when one has failed; older versions know only their own 30 seconds.
        "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(max(1, int(spec.grace_seconds))),
    }
    share_cpus(environment, processes)
    with _starter_log(workspace).open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *(torchrun if processes > 1 else []), *worker],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    assert process.stdin is not None
    try:
        yield process
    finally:
        process.stdin.close()
        # One that is stopped does not see its pipe close, and a command is not a rank's child once that is killed.
        ranks = [group for rank in range(processes) for group in workspace.sessions(rank)]
        for group in (process.pid, *ranks):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
        process.wait()


def _wait(process: subprocess.Popen[bytes], grace_seconds: float, workspace: Workspace) -> bool:
    """Wait for the end and print rank 0's log meanwhile; return whether this process was told to stop.

    The wait ends, too, when the processes do not end in time after they were told, or after one has failed.
    """
    told: list[float] = []

    def hand_on(_number: int, _frame: FrameType | None) -> None:
        if not told:
            told.append(time.monotonic())
            process.send_signal(signal.SIGTERM)

    in_main_thread = threading.current_thread() is threading.main_thread()
    previous = signal.signal(signal.SIGTERM, hand_on) if in_main_thread else None
    log, over_at = Tail(workspace.log(0), from_start=True), 0.0
    try:
        while True:
            ended = _ended(process)
            _print_new(log)
            if not over_at and (told or workspace.outcome.exists()):
                over_at = time.monotonic() + grace_seconds + _OVERTIME_SECONDS
            if ended or (over_at and time.monotonic() > over_at):
                return bool(told)
    finally:
        sys.stdout.write(log.rest())
        if in_main_thread:
            signal.signal(signal.SIGTERM, previous)


def _ended(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(_POLL_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return True


def _print_new(log: Tail) -> None:
    for line in log.lines():
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _judge(workspace: Workspace, exit_code: int, *, terminated: bool) -> Outcome:
    outcome = outcomes.read(workspace)
    if outcome is not None and outcome.state == "completed" and exit_code == 0:
        return outcome
    outcomes.raise_own_error(workspace, outcome)
    ended_from_outside = (
        outcome is not None
        and outcome.state in ("preempted", "stopped")
        and not _first_end(read_tail(_starter_log(workspace)))
    )
    if terminated or ended_from_outside:
        committed = outcome.committed_step if outcome else None
        stopped = outcome is not None and outcome.state == "stopped"
        raise TrainingEndedError(
            "Training was stopped by the file STOP" if stopped else "Training was ended by SIGTERM",
            received=f"the outcome {outcome.state if outcome else 'of a killed process'}",
            what_to_do="Run it again: "
            + (f"training resumes after step {committed}." if committed is not None else "it begins anew."),
        )
    killed = _killed(workspace, exit_code)
    if outcome is not None and outcome.error is not None and outcome.lost_peer:
        killed.received = f"{outcome.error['received']} (process {outcome.rank}); {killed.received}"
    raise killed


def _killed(workspace: Workspace, exit_code: int) -> TrainingError:
    """The error of a process that ended without a word: by the kernel's memory killer, a fault in native code."""
    rank, ending = _first_end(read_tail(_starter_log(workspace))) or (0, exit_code)
    ended = f"was ended by {signal.Signals(-ending).name}" if ending < 0 else f"ended with exit code {ending}"
    log = workspace.log(rank)
    tail = outcomes.log_tail(log) or outcomes.log_tail(_starter_log(workspace))
    return TrainingError(
        f"The training process {rank} {ended} and left no outcome",
        received=f"the end of its log:\n{tail}" if tail else "an empty log",
        expected="a process that writes how it ended",
        what_to_do="SIGKILL is often the kernel's, for memory: raise the memory limit. Run it again: training resumes "
        f"from the last checkpoint. The log is {log}.",
    )


def _first_end(log: str) -> tuple[int, int] | None:
    """The rank and the exit code of the process that failed first, as torchrun's table says; None without a table.

    It lists all, the first one last. One that was killed counts before those that failed since they lost it; one that
    is to be tried again has not failed.
    """
    found = re.findall(r"rank\s*: (\d+) \(local_rank.*?exitcode\s*: (-?\d+)", log, re.DOTALL)
    ends = [(int(rank), int(code)) for rank, code in found if int(code) != outcomes.TRY_AGAIN_EXIT_CODE]
    killed = [end for end in ends if end[1] < 0 and end[1] != -signal.SIGTERM]
    return next(reversed(killed or ends), None)


def _starter_log(workspace: Workspace) -> Path:
    return workspace.logs / "starter.log"
