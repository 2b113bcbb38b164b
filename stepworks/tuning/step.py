"""What the step `tune` does: a search in a cluster, or on a laptop."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stepworks.kube.training_job import make_runtime
from stepworks.operations.in_cluster import connect_from_step, resolve_placement
from stepworks.operations.run_folders import run_folder
from stepworks.placement.pod_placement import PodPlacement
from stepworks.report.documents import TuningDocument
from stepworks.supervisor.client import SupervisorClient
from stepworks.training.cluster import copy_inputs
from stepworks.training.given import Artifact, given_paths, trials_spec
from stepworks.training.parameters import Value
from stepworks.training.spec import TrainingSpec
from stepworks.training.workspace import Workspace
from stepworks.tuning.experiment import TrialKind, build_experiment, trial_template
from stepworks.tuning.given import check_trials, refuse_without_validation
from stepworks.tuning.katib import tune_in_cluster
from stepworks.tuning.local import Reporter, tune_locally
from stepworks.tuning.spec import TuningSpec
from stepworks.tuning.trial import of_trial, prepare, run_here
from stepworks.tuning.trial_job import build_trial


@dataclass(frozen=True)
class Trials:
    """What the trials of a search in a cluster are.

    Attributes:
        kind: Which kind of job each is.
        image: The image of its pods.
        placement: Where they run, and with which claims; one has the workspace.
        nodes: How many pods each has.
        seconds: After how long one is ended.
    """

    kind: TrialKind
    image: str
    placement: PodPlacement
    nodes: int
    seconds: int


def search(
    spec: TuningSpec,
    training: Mapping[str, Any],
    inputs: Mapping[str, Artifact | None],
    parent: str,
    trials: Trials,
    *,
    name: str,
    run: str,
    timeout: float,
    scheduling_timeout: float,
) -> TuningDocument:
    """Search by Katib in a cluster, and by Optuna in a local run, where each trial is a training in processes here.

    Args:
        spec: What is searched for.
        training: What each trial trains: fields of a training spec, see `trials_spec`.
        inputs: The artifacts that it trains on, by name; None for one that was not given. They are copied to the
            workspace, where a retried step finds what is there as a whole.
        parent: A folder in a claim that the step and the pods of the trials mount. The search's workspace is
            `<run>/<name>` in it.
        trials: What the trials are in a cluster.
        name: What the search is called in the pipeline.
        run: The run's id.
        timeout: How long a search in a cluster may take, in seconds.
        scheduling_timeout: How long its trials may wait for room, in seconds.

    Returns:
        All trials.

    Raises:
        ConfigurationError: The training cannot be searched so; nothing was copied or started.
        StepworksError: As of `tune_in_cluster`, `tune_locally` and `build_trial`.
    """
    paths = given_paths(inputs)
    trained = trials_spec(training, {each: each for each in paths})
    check_trials(spec, trained)
    refuse_without_validation(spec, trained)
    workspace = Workspace(run_folder(parent, run) / name)
    workspace.inputs.mkdir(parents=True, exist_ok=True)
    copy_inputs({each: Path(path) for each, path in paths.items()}, workspace)
    prepare(workspace, trained, spec.space)
    if SupervisorClient.from_environment():
        return _search_here(spec, trained, workspace)
    limits = {"timeout": timeout, "scheduling_timeout": scheduling_timeout}
    return _search_in_cluster(spec, workspace, trials, name, run, limits)


def _search_in_cluster(
    spec: TuningSpec, workspace: Workspace, trials: Trials, name: str, run: str, limits: Mapping[str, float]
) -> TuningDocument:
    cluster = connect_from_step("an Experiment")
    trial = build_trial(
        cluster,
        trials.kind,
        image=trials.image,
        placement=resolve_placement(trials.placement),
        mounts=trials.placement.mounts_of(run),
        nodes=trials.nodes,
        workspace=str(workspace.root),
        parameters=spec.space,
        name=name,
        run=run,
        active_deadline_seconds=trials.seconds,
    )

    def prepare_trials() -> None:
        if trial.runtime:
            make_runtime(cluster, trial.runtime, trial.manifest, run, trial.beyond)

    return tune_in_cluster(
        cluster,
        spec,
        build_experiment(spec, trial_template(trial.manifest), name=name, run=run),
        run=run,
        **limits,
        before_making=prepare_trials,
    )


def _search_here(spec: TuningSpec, training: TrainingSpec, workspace: Workspace) -> TuningDocument:
    numbers = itertools.count()
    inputs = {name: str(workspace.input(path)) for name, path in training.inputs.items()}
    trained = TrainingSpec(**{**training.model_dump(), "inputs": inputs})

    def run_trial(parameters: Mapping[str, Value], reporter: Reporter) -> None:
        run_here(trained, of_trial(workspace, f"trial-{next(numbers)}"), parameters, reporter)

    return tune_locally(spec, run_trial)
