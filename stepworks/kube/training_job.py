"""A training job of a run from being made to its end, whichever kind of job it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, cast, get_args

from stepworks.errors import AccessDeniedError, AdmissionError, AlreadyExistsError, ConfigurationError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import create
from stepworks.kube.api.schema import read_schema
from stepworks.kube.builders.pytorch_job import build_pytorch_job
from stepworks.kube.builders.tf_job import build_tf_job
from stepworks.kube.builders.train_job import (
    API_VERSION,
    beyond_overrides,
    build_train_job,
    build_training_runtime,
    served_by,
)
from stepworks.kube.builders.workload import TrainingJobSpec
from stepworks.kube.kinds.judgement import Rule
from stepworks.kube.kinds.manifests import Manifest
from stepworks.kube.kinds.rules import TRAIN_JOB_COMPLETE, TRAINING_OPERATOR_JOB_SUCCEEDED
from stepworks.kube.runs.adoption import Adoption
from stepworks.kube.runs.belonging import belonging_to
from stepworks.kube.runs.lifetime import STEP_SETTING, run_to_end
from stepworks.settings_file import validated

TrainingJobKind = Literal["TrainJob", "PyTorchJob", "TFJob"]
_UNKNOWN_RUNTIME = "must be created before the TrainJob"
_KNOWN_SECONDS = 30.0
_LOOK_SECONDS = 0.25
DEFAULT_RUNTIME = "torch-distributed"
"""The ClusterTrainingRuntime for PyTorch that comes with Trainer."""


def training_job_spec(**given: Any) -> TrainingJobSpec:
    """Make the specification of a training job from what a step was given.

    Raises:
        ConfigurationError: A value is wrong; the message names the field.
    """
    return validated(
        TrainingJobSpec,
        given,
        problem="The training job is wrong",
        expected="the parameters of the step training/train_distributed",
        what_to_do="Correct the value; nothing was made.",
    )


def training_job_kind(kind: str) -> TrainingJobKind:
    """Return the name of a kind of training job.

    Raises:
        ConfigurationError: It is none.
    """
    for known in get_args(TrainingJobKind):
        if kind == known:
            return cast("TrainingJobKind", known)
    raise ConfigurationError(
        "There is no such kind of training job",
        received=repr(kind),
        expected=", ".join(get_args(TrainingJobKind)),
        what_to_do="Correct the parameter kind.",
    )


def _refuse_what_another_kind_has(spec: TrainingJobSpec, kind: TrainingJobKind) -> None:
    given = {
        "PyTorchJob": ["least_nodes"] if spec.least_nodes else [],
        "TFJob": [name for name in ("parameter_servers", "evaluator") if getattr(spec, name)],
    }
    for owner, names in given.items():
        if names and kind != owner:
            raise ConfigurationError(
                f"A {kind} has no {' and no '.join(names)}",
                received=", ".join(f"{name}: {getattr(spec, name)}" for name in names),
                expected=f"a {owner}",
                what_to_do=f"Leave it out, or make it a {owner}.",
            )


def end_of(kind: TrainingJobKind) -> Rule:
    """When a training job has succeeded, and when it has failed."""
    return TRAIN_JOB_COMPLETE if kind == "TrainJob" else TRAINING_OPERATOR_JOB_SUCCEEDED


def run_training_job(
    cluster: Cluster,
    spec: TrainingJobSpec,
    *,
    kind: TrainingJobKind,
    name: str,
    run: str,
    scheduling_timeout: float,
    runtime: str = DEFAULT_RUNTIME,
    until: Rule | None = None,
    before_making: Callable[[], None] = lambda: None,
    say: Callable[[str], None] = print,
) -> Manifest:
    """Make a training job, or adopt the one that an earlier attempt of the step made, and wait until it succeeds.

    Otherwise it is suspended or deleted, so that it holds no accelerator; see `stepworks.kube.runs.lifetime`.

    Args:
        cluster: Where.
        spec: What it runs and where.
        kind: Which kind of job it is.
        name: What it is called in the pipeline; its name is `<name>-<run>`.
        run: The run's id.
        scheduling_timeout: How long it may wait for room in the cluster, in seconds.
        runtime: The ClusterTrainingRuntime of a TrainJob. It gets one of its own instead where the placement says what
            a TrainJob cannot tell this one.
        until: When it has succeeded and when it has failed; None for what `end_of` returns.
        before_making: Called each time before it is made; not where one is adopted.
        say: Is told each line of progress.

    Returns:
        The job in which success was seen.

    Raises:
        StepworksError: As of `run_to_end`.
    """
    _refuse_what_another_kind_has(spec, kind)
    job, own_runtime, beyond = _build(cluster, spec, kind, name, run, runtime)

    def prepare() -> None:
        before_making()
        if own_runtime is not None:
            make_runtime(cluster, own_runtime, job, run, beyond, say)

    return run_to_end(
        cluster,
        job,
        run=run,
        until=until or end_of(kind),
        # The job's own deadline comes first, so that the job says why it ended.
        timeout=spec.active_deadline_seconds + scheduling_timeout,
        on_failure="suspend",
        scheduling_timeout=scheduling_timeout,
        scheduling_setting=STEP_SETTING,
        before_making=prepare,
        say=say,
    )


def _build(
    cluster: Cluster, spec: TrainingJobSpec, kind: TrainingJobKind, name: str, run: str, runtime: str
) -> tuple[Manifest, Manifest | None, list[str]]:
    if kind == "TrainJob":
        return train_job_and_runtime(cluster, spec, name=name, run=run, runtime=runtime)
    build = build_pytorch_job if kind == "PyTorchJob" else build_tf_job
    return build(spec, name=name, run=run), None, []


def train_job_and_runtime(
    cluster: Cluster, spec: TrainingJobSpec, *, name: str, run: str, runtime: str
) -> tuple[Manifest, Manifest | None, list[str]]:
    """A TrainJob for what a cluster serves, and a TrainingRuntime of its own where it cannot say all by itself.

    Args:
        cluster: Where.
        spec: What it runs and where.
        name: What it is called in the pipeline.
        run: The run's id.
        runtime: The ClusterTrainingRuntime that it takes where it has none of its own.

    Returns:
        The TrainJob, its runtime if it has one, and what only that can say.

    Raises:
        NotFoundError: Trainer is not installed.
        ConfigurationError: A name is not valid, or the placement cannot be applied.
        ClusterError: The API server fails or does not answer.
    """
    served = served_by(read_schema(cluster, API_VERSION, "TrainJob"))
    beyond = beyond_overrides(spec, served)
    job = build_train_job(spec, name=name, run=run, served=served, runtime=None if beyond else runtime)
    own = build_training_runtime(spec, name=name, run=run, served=served) if beyond else None
    return job, own, beyond


def wait_until_known(cluster: Cluster, job: Manifest) -> None:
    """Wait until Trainer's webhook knows the runtime: it reads a cache, which may be a moment behind, and refuses.

    Whatever else the job is refused for is told when it is made.
    """
    deadline = cluster.clock.now() + _KNOWN_SECONDS
    while cluster.clock.now() < deadline:
        try:
            create(cluster, job, dry_run=True)
        except AdmissionError as error:
            if _UNKNOWN_RUNTIME not in error.received:
                return
        except AlreadyExistsError:
            return
        else:
            return
        cluster.clock.sleep(_LOOK_SECONDS)


def make_runtime(
    cluster: Cluster,
    runtime: Manifest,
    job: Manifest,
    run: str,
    beyond: Sequence[str],
    say: Callable[[str], None] = print,
) -> None:
    """Make the TrainingRuntime of a run, or adopt the one that an earlier attempt of the step made.

    It returns when Trainer takes TrainJobs of it.

    Args:
        cluster: Where.
        runtime: As `build_training_runtime` builds it.
        job: A TrainJob that takes it, with or without a name.
        run: The run's id.
        beyond: What no TrainJob can say, for whose sake there is a runtime.
        say: Is told what is done.

    Raises:
        AccessDeniedError: A permission is missing; the message says what could be left out instead.
        ClusterError: The API server fails or does not answer.
    """
    try:
        Adoption(cluster, belonging_to(cluster, runtime, run), say=say).make_or_adopt()
    except AccessDeniedError as error:
        error.what_to_do += (
            f" Or leave out what only a TrainingRuntime of its own can say of the TrainJob: {', '.join(beyond)}."
        )
        raise
    # The TrainJobs of a search have no name before Katib gives them one.
    wait_until_known(cluster, {**job, "metadata": {"name": runtime["metadata"]["name"], **job["metadata"]}})
