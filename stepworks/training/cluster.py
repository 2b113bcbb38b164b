"""Train in the pods of a training job, which share the run's workspace with the step on a claim."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from stepworks.errors import ConfigurationError, ResourceError, TrainingError, WorkloadFailedError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.builders.workload import TrainingJobSpec
from stepworks.kube.kinds.judgement import Failed, Judgement, Rule
from stepworks.kube.kinds.manifests import Manifest
from stepworks.kube.training_job import DEFAULT_RUNTIME, TrainingJobKind, end_of, run_training_job
from stepworks.training import outcome as outcomes
from stepworks.training.log_printer import printing_log
from stepworks.training.spec import TrainingSpec
from stepworks.training.workspace import LOG_VARIABLE, Workspace

OVERTIME_SECONDS = 5
"""How long after the processes' grace period torchrun may take to end, before the pod is killed."""


@dataclass(frozen=True)
class TrainingJob:
    """A training job and where it is made.

    Attributes:
        cluster: The cluster.
        kind: Which kind of job it is.
        name: What it is called in the pipeline; its name is `<name>-<run>`.
        run: The run's id.
        pods: Its pods, without what they run, which follows from what is to be trained.
        runtime: The ClusterTrainingRuntime of a TrainJob; see `run_training_job`.
        scheduling_timeout: How long it may wait for room in the cluster, in seconds.
    """

    cluster: Cluster
    kind: TrainingJobKind
    name: str
    run: str
    pods: TrainingJobSpec
    scheduling_timeout: float
    runtime: str = DEFAULT_RUNTIME


def train_on_cluster(
    spec: TrainingSpec,
    workspace: Workspace,
    job: TrainingJob,
    *,
    say: Callable[[str], None] = print,
) -> Manifest:
    """Train in a training job to its end, and print what rank 0 prints; the model is in the workspace then.

    A retried step takes up the job of the earlier attempt. A failure suspends or deletes the job.

    Args:
        spec: What to train; its inputs are files and folders of this step, and are copied to the workspace before the
            job is made.
        workspace: The run's own folder, on a claim that the pods mount at the same path.
        job: The job.
        say: Is told each line of progress.

    Returns:
        The finished job.

    Raises:
        ConfigurationError: A TFJob is to train anything but a command.
        StepworksError: The error of the process that failed first, or of an earlier attempt if it is permanent.
        WorkloadFailedError: The job failed, and no process says why; it names the pod and its last lines.
        TrainingError: The job succeeded, and training did not.
        ResourceError: An input cannot be copied.
        ClusterError: As of `run_to_end`.
    """
    inputs = {name: Path(path) for name, path in spec.inputs.items()}
    spec = spec.model_copy(update={"inputs": {name: name for name in inputs}})
    pods = training_pods(spec, workspace, job)
    _make_for_all(workspace)
    spec.write(workspace.spec)
    outcomes.refuse_if_permanent(workspace)

    def prepare() -> None:
        _forget_ending(workspace)
        copy_inputs(inputs, workspace)

    try:
        with printing_log(workspace, say):
            finished = run_training_job(
                job.cluster,
                pods,
                kind=job.kind,
                name=job.name,
                run=job.run,
                scheduling_timeout=job.scheduling_timeout,
                runtime=job.runtime,
                until=_UnlessPermanent(end_of(job.kind), workspace),
                before_making=prepare,
                say=say,
            )
    except WorkloadFailedError as error:
        outcomes.raise_own_error(workspace, outcomes.read(workspace), error)
        raise
    _check_outcome(workspace, job)
    return finished


@dataclass(frozen=True)
class _UnlessPermanent:
    """Ends the wait for a job that goes on to begin anew, once training has failed in a way that would come again."""

    rule: Rule
    workspace: Workspace

    @property
    def goal(self) -> str:
        return self.rule.goal

    @property
    def absence_succeeds(self) -> bool:
        return self.rule.absence_succeeds

    def judge(self, manifest: Manifest) -> Judgement:
        """Judge by the job, and by the mark that training leaves in the workspace."""
        if self.workspace.permanent_error.exists():
            return Failed(f"training failed, and would fail again: {self.workspace.permanent_error}")
        return self.rule.judge(manifest)


def training_pods(spec: TrainingSpec, workspace: Workspace, job: TrainingJob) -> TrainingJobSpec:
    """The pods of a job with what they run, which follows from what is to be trained.

    Raises:
        ConfigurationError: A TFJob is to train anything but a command.
    """
    environment = {
        LOG_VARIABLE: "1",
        # How long torchrun lets the others end when one has failed; older versions know only their own 30 seconds.
        "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(max(1, int(spec.grace_seconds))),
        **job.pods.environment,
    }
    if job.kind == "TFJob":
        if spec.form != "command":
            raise ConfigurationError(
                "A TFJob trains by a command only",
                received=f"the form {spec.form}",
                expected="command: TensorFlow scripts find each other by the variable TF_CONFIG",
                what_to_do="Give a command, or make it a TrainJob or a PyTorchJob.",
            )
        command = tuple(spec.command)
        environment = {**workspace.environment(spec.inputs, spec.grace_seconds), **job.pods.environment}
    else:
        command = ("python3", "-m", *_program(spec, workspace, job))
    grace = math.ceil(spec.grace_seconds) + OVERTIME_SECONDS
    return job.pods.model_copy(
        update={"command": command, "environment": environment, "termination_grace_period_seconds": grace}
    )


def _program(spec: TrainingSpec, workspace: Workspace, job: TrainingJob) -> tuple[str, ...]:
    worker = ("stepworks.training.worker", str(workspace.root))
    if job.pods.nodes * job.pods.processes_per_node == 1:
        return worker
    if job.kind == "PyTorchJob":  # the operator starts the container of each pod again
        return ("torch.distributed.run", "-m", *worker)
    # A pod that is preempted takes its grace period, and a while until its node says that it ended.
    longest_wait = math.ceil(spec.grace_seconds) + 2 * OVERTIME_SECONDS
    return ("stepworks.training.node", str(workspace.root), str(longest_wait))


def _make_for_all(workspace: Workspace) -> None:
    """Make the folders such that pods with other users than this step's can write to them."""
    workspace.make()
    try:
        workspace.inputs.mkdir(exist_ok=True)
        for folder in (workspace.root, workspace.checkpoints, workspace.logs):
            # Whoever can mount the claim can write there anyway.
            folder.chmod(0o777)
    except OSError as error:
        raise _unusable(workspace, error) from error


def _forget_ending(workspace: Workspace) -> None:
    """Delete how an earlier job ended, and its model, so that they are not taken for those of the next one."""
    try:
        for leftover in (workspace.outcome, workspace.stop_file):
            leftover.unlink(missing_ok=True)
        if workspace.model.exists():
            shutil.rmtree(workspace.model)
    except OSError as error:
        raise _unusable(workspace, error) from error


def copy_inputs(inputs: Mapping[str, Path], workspace: Workspace) -> None:
    """Copy inputs to the workspace that are not there yet; each is there as a whole, or not.

    Raises:
        ResourceError: One cannot be copied.
    """
    for name, source in inputs.items():
        target = workspace.input(name)
        if target.exists():
            continue
        partial = workspace.inputs / f".{name}.partial"
        try:
            if source.is_dir():
                shutil.rmtree(partial, ignore_errors=True)
                shutil.copytree(source, partial)
            else:
                shutil.copyfile(source, partial)
            partial.replace(target)
        except (OSError, shutil.Error) as error:
            raise _unusable(workspace, error) from error


def _unusable(workspace: Workspace, error: Exception) -> ResourceError:
    return ResourceError(
        f"The workspace {workspace.root} cannot be prepared for the pods",
        received=f"{type(error).__name__}: {error}",
        expected="a folder on a claim that this step mounts and may write to, with room for the inputs",
        what_to_do="Mount the claim in the step and in the pods at the same path, and let both write to it.",
    )


def _check_outcome(workspace: Workspace, job: TrainingJob) -> None:
    """Assert what the job's success alone does not say.

    Raises:
        StepworksError: Training did not complete.
    """
    outcome = outcomes.read(workspace)
    if job.kind == "TFJob":
        done = workspace.model.is_dir() and any(workspace.model.iterdir())
        received, expected = f"nothing in {workspace.model}", "the finished model"
    else:
        done = outcome is not None and outcome.state == "completed"
        received = f"the outcome {outcome.state}" if outcome else f"no file {workspace.outcome}"
        expected = "the outcome completed"
    if done:
        return
    error = TrainingError(
        f"The {job.kind} succeeded, and training did not complete",
        received=received,
        expected=expected,
        what_to_do="See that the pods and this step mount the same claim at the same path, and that the image has the "
        "same version of Stepworks as the step.",
    )
    outcomes.raise_own_error(workspace, outcome, error)
    raise error
