"""What each trial of a search in a cluster makes: a Job, a TrainJob or a PyTorchJob whose pods run one training."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from stepworks.errors import ConfigurationError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.builders.job import build_job, job_spec
from stepworks.kube.builders.pytorch_job import build_pytorch_job
from stepworks.kube.kinds.manifests import Manifest
from stepworks.kube.training_job import DEFAULT_RUNTIME, train_job_and_runtime, training_job_spec
from stepworks.placement.placement import Placement
from stepworks.placement.storage import Mount
from stepworks.tuning.experiment import TRIAL_NAME, TrialKind, placeholder

_MODULE = "stepworks.tuning.trial"


@dataclass(frozen=True)
class Trial:
    """What is made for each trial, and for all of them.

    Attributes:
        manifest: What Katib makes for each, with placeholders for the parameters.
        runtime: The TrainingRuntime of all TrainJobs, where a TrainJob cannot say all that the placement asks for.
        beyond: What it cannot say.
    """

    manifest: Manifest
    runtime: Manifest | None = None
    beyond: tuple[str, ...] = ()


def build_trial(
    cluster: Cluster,
    kind: TrialKind,
    *,
    image: str,
    placement: Placement,
    mounts: Iterable[Mount],
    nodes: int,
    workspace: str,
    parameters: Iterable[str],
    name: str,
    run: str,
    active_deadline_seconds: int,
) -> Trial:
    """Build the object that Katib makes for each trial, without its name.

    A trial that failed is not begun anew: it is a failed trial, and Katib counts those.

    Args:
        cluster: Where; of a TrainJob it says which fields are served.
        kind: Which kind of object.
        image: The image of the pods.
        placement: Where they run and with what.
        mounts: The claims that they mount; one has the workspace.
        nodes: How many pods a trial has; a Job has one.
        workspace: The search's workspace, as the pods see it.
        parameters: The names of what the search varies.
        name: What the search is called in the pipeline.
        run: The run's id.
        active_deadline_seconds: After how long a trial is ended.

    Raises:
        ConfigurationError: The kind cannot run on so many nodes, a value is wrong, or the placement cannot be applied.
    """
    if kind == "Job" and nodes != 1:
        raise ConfigurationError(
            "A Job trains on one node",
            received=f"kind Job, nodes {nodes}",
            expected="nodes 1, or the kind TrainJob or PyTorchJob",
            what_to_do="Name another kind of job for the trials.",
        )
    alone = nodes == 1 and placement.process_count == 1
    arguments = [str(PurePosixPath(workspace)), TRIAL_NAME, *(f"{each}={placeholder(each)}" for each in parameters)]
    common: dict[str, Any] = {
        "image": image,
        "command": ["python", "-m", _MODULE, *arguments] if alone else _torchrun(kind, placement, arguments),
        "placement": placement.model_copy(update={"retry": None}),
        "mounts": tuple(mounts),
        "active_deadline_seconds": active_deadline_seconds,
    }
    trial = _build(cluster, kind, common, nodes, name, run)
    del trial.manifest["metadata"]["name"]
    return trial


def _torchrun(kind: TrialKind, placement: Placement, arguments: list[str]) -> list[str]:
    # The controllers of training jobs tell torchrun by variables how many it starts, and where the others are.
    alone = ["--standalone", f"--nproc-per-node={placement.process_count}"] if kind == "Job" else []
    return ["torchrun", *alone, "--max-restarts=0", "-m", _MODULE, *arguments]


def _build(cluster: Cluster, kind: TrialKind, common: dict[str, Any], nodes: int, name: str, run: str) -> Trial:
    if kind == "Job":
        return Trial(build_job(job_spec(**common), name=name, run=run))
    spec = training_job_spec(**common, nodes=nodes)
    if kind == "PyTorchJob":
        return Trial(build_pytorch_job(spec, name=name, run=run))
    job, runtime, beyond = train_job_and_runtime(cluster, spec, name=name, run=run, runtime=DEFAULT_RUNTIME)
    if runtime:
        job["spec"]["trainer"]["command"] = list(spec.command)  # which differs from trial to trial, and comes first
    return Trial(job, runtime, tuple(beyond))
