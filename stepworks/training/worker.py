"""What each process of a training run runs: `python -m stepworks.training.worker <workspace>`.

It reads the spec in the workspace, does what its form says, and writes how it ended. torchrun starts it, or plain
python where there is one process.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

from stepworks.errors import ConfigurationError, ResourceError, StepworksError, TakenOverError, TrainingError
from stepworks.training import outcome as outcomes
from stepworks.training.checkpoint.store import committed_step
from stepworks.training.cpus import share_cpus
from stepworks.training.interruption import Interruption, Reason
from stepworks.training.outcome import Outcome
from stepworks.training.spec import TrainingSpec
from stepworks.training.workspace import LIFELINE_VARIABLE, LOG_VARIABLE, VARIABLE_PREFIX, Workspace

logger = logging.getLogger(__name__)


def main(root: Path) -> int:
    """Run one process of a training run.

    Args:
        root: The workspace.

    Returns:
        The exit code: 0 if completed, 75 if another attempt resumes, 1 for a failure.
    """
    workspace = Workspace(root)
    rank = int(os.environ.get("RANK", "0"))
    share_cpus(os.environ, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    workspace.make()
    if os.environ.get(LOG_VARIABLE):
        _write_output_to(workspace.log(rank))
    if os.environ.get(LIFELINE_VARIABLE):
        workspace.pid_file(rank).write_text(str(os.getpid()))
        threading.Thread(target=_end_with_the_starter, args=[workspace, rank], name="lifeline", daemon=True).start()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    if rank == 0:
        workspace.outcome.unlink(missing_ok=True)
    outcome = _run(workspace, rank)
    if rank == 0 or outcome.state == "failed":  # The others' good ends say nothing about the run's.
        outcomes.write(workspace, outcome)
    logging.shutdown()
    if outcome.state == "failed":
        # No clean-up of the interpreter: it would wait for threads that wait for another process, which may be gone.
        sys.stdout.flush()
        os._exit(outcome.exit_code)
    return outcome.exit_code


def _run(workspace: Workspace, rank: int) -> Outcome:
    """Do what the form of the spec says; whatever is raised becomes the outcome."""
    interruption: Interruption | None = None
    try:
        spec = TrainingSpec.read(workspace.spec)
        os.environ.update(workspace.environment(spec.inputs, spec.grace_seconds))
        interruption = Interruption(
            spec.grace_seconds,
            workspace.stop_file,
            on_deadline=lambda: outcomes.write(workspace, _preempted(workspace, rank)),
        )
        forms = {"builders": _run_builders, "entrypoint": _run_entrypoint, "command": _run_command}
        with interruption:
            return forms[spec.form](spec, workspace, interruption)
    except TakenOverError as error:
        # How the run ends is that attempt's to say.
        logger.error("%s", error)  # noqa: TRY400 - as below
        logging.shutdown()
        sys.stdout.flush()
        os._exit(outcomes.TRY_AGAIN_EXIT_CODE)
    except BaseException as error:
        lost_peer = _is_lost_peer(error)
        if lost_peer and interruption is not None and interruption.reason is Reason.SIGTERM:
            return _preempted(workspace, rank)
        if isinstance(error, StepworksError):
            logger.error("%s", error)  # noqa: TRY400 - the message says all; a traceback is for the unexpected
        else:
            logger.exception("%s", outcomes.UNEXPECTED)
        return outcomes.failure(error, rank=rank, lost_peer=lost_peer, committed=committed_step(workspace.checkpoints))


def _run_builders(spec: TrainingSpec, workspace: Workspace, interruption: Interruption) -> Outcome:
    # CUDA reads it once, when its libraries are loaded.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    from stepworks.training.process_group import join
    from stepworks.training.train import train_builders

    with join(spec.parallel.device, timeout_seconds=spec.parallel.timeout_seconds) as processes:
        return train_builders(spec, workspace, processes, interruption)


def _run_entrypoint(spec: TrainingSpec, workspace: Workspace, interruption: Interruption) -> Outcome:
    from stepworks.reference import build
    from stepworks.training.context import TrainingContext

    context = TrainingContext(spec, workspace, interruption)
    # Only now: where the checkpoints are another's, so is the model, and this raised.
    _forget_model(workspace, context.rank)
    build(spec.entrypoint, context, role="entrypoint", settings=spec.settings)
    if context.stop_reason is Reason.NONE:
        return _completed(workspace, context.rank)
    if context.stop_reason is Reason.SIGTERM:
        return _preempted(workspace, context.rank)
    return Outcome(state="stopped", committed_step=committed_step(workspace.checkpoints), rank=context.rank)


def _run_command(spec: TrainingSpec, workspace: Workspace, interruption: Interruption) -> Outcome:
    """Run the command in a session of its own, so that it gets SIGTERM once: from here."""
    rank = int(os.environ.get("RANK", "0"))
    _forget_model(workspace, rank)
    with _started(spec.command, workspace.pid_file(rank)) as process:
        try:
            exit_code = _wait(process, interruption)
        finally:
            _kill_session(process.pid)
    if interruption.reason is Reason.SIGTERM or exit_code == outcomes.TRY_AGAIN_EXIT_CODE:
        # Also with the exit code 0: it may have kept its state and left, and whether the model is whole is not known.
        return _preempted(workspace, rank)
    return _command_failed(spec.command, exit_code, workspace, rank) if exit_code else _completed(workspace, rank)


def _forget_model(workspace: Workspace, rank: int) -> None:
    """Delete what an earlier attempt left: whether training is completed is told by the model that is there at its end.

    Our own loop needs no such thing: it says itself that it has written the model.
    """
    if rank or not workspace.model.exists():
        return
    try:
        shutil.rmtree(workspace.model)
    except OSError as error:
        raise ResourceError(
            f"The model {workspace.model} of an earlier attempt cannot be deleted",
            received=f"{type(error).__name__}: {error}",
            expected="a folder that this process may write to",
            what_to_do="Delete it, or let the user of this process write to it, and run again.",
        ) from error


def _started(command: list[str], sessions: Path) -> subprocess.Popen[bytes]:
    """Start the command. Where somebody watches over this process, its session is written down before it runs.

    Were it written by this process, a kill just after the start would leave a command that nobody knows of.
    """

    def write_down() -> None:
        file = os.open(sessions, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.write(file, f"\n{os.getpid()}".encode())
        os.close(file)

    watched = write_down if os.environ.get(LIFELINE_VARIABLE) else None
    try:
        return subprocess.Popen(
            command,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            preexec_fn=watched,  # noqa: PLW1509  # it takes no lock that another thread might hold
        )
    except (FileNotFoundError, PermissionError) as error:
        raise ConfigurationError(
            "The training command cannot be started",
            received=f"{error.strerror}: {' '.join(command)}",
            expected="a program that the image holds, and its arguments",
            what_to_do="Correct the parameter command, or add the program to the image.",
        ) from error


def _command_failed(command: list[str], exit_code: int, workspace: Workspace, rank: int) -> Outcome:
    """The outcome of a command that failed: of one in several processes, only its log tells whether it lost another."""
    if exit_code == 128 + signal.SIGKILL:  # as a shell tells of a program that was killed
        exit_code = -signal.SIGKILL
    killed = exit_code < 0
    error = TrainingError(
        "The training command failed",
        received=f"{signal.Signals(-exit_code).name if killed else f'exit code {exit_code}'} of {' '.join(command)}",
        expected="exit code 0",
        what_to_do="SIGKILL is often the kernel's, for memory: raise the memory limit. Run it again."
        if killed
        else "Read the log of the process; correct the command.",
    )
    logger.error("%s", error)
    others = int(os.environ.get("WORLD_SIZE", "1")) > 1
    return outcomes.failure(
        error,
        rank=rank,
        lost_peer=others and not killed and outcomes.tells_of_lost_peer(outcomes.log_tail(workspace.log(rank))),
        transient=others or killed,
        committed=committed_step(workspace.checkpoints),
    )


def _wait(process: subprocess.Popen[bytes], interruption: Interruption) -> int:
    """Wait for a command, and hand SIGTERM on to it when it comes."""
    told = False
    while True:
        try:
            return process.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            if interruption.reason is Reason.SIGTERM and not told:
                told = True
                process.terminate()


def _kill_session(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def _completed(workspace: Workspace, rank: int) -> Outcome:
    if rank == 0 and not (workspace.model.is_dir() and any(workspace.model.iterdir())):
        raise TrainingError(
            "Training ended and left no model",
            received=f"nothing in {workspace.model}",
            expected="the finished model",
            what_to_do=f"Write the model to the folder that {VARIABLE_PREFIX}MODEL names.",
        )
    return Outcome(state="completed", committed_step=committed_step(workspace.checkpoints), rank=rank)


def _preempted(workspace: Workspace, rank: int) -> Outcome:
    return Outcome(state="preempted", committed_step=committed_step(workspace.checkpoints), rank=rank)


def _is_lost_peer(error: BaseException) -> bool:
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or isinstance(error, StepworksError):
        return False
    from stepworks.training.process_group import is_lost_peer

    return is_lost_peer(error)


def _write_output_to(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    os.close(descriptor)


def _end_with_the_starter(workspace: Workspace, rank: int) -> None:
    while os.read(0, 1024):
        pass
    for group in workspace.sessions(rank):
        if group != os.getpid():
            _kill_session(group)
    os._exit(outcomes.TRY_AGAIN_EXIT_CODE)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
