"""What the step `training/train_distributed` does: train in the pods of a training job, and hand over the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stepworks.artifact_uri import in_claim
from stepworks.kube.training_job import training_job_kind, training_job_spec
from stepworks.operations.in_cluster import connect_from_step, resolve_placement
from stepworks.operations.run_folders import make_run_folder
from stepworks.operations.run_job import fill_in, refuse_unshared
from stepworks.placement.pod_placement import PodPlacement
from stepworks.training.cluster import TrainingJob, train_on_cluster
from stepworks.training.spec import TrainingSpec
from stepworks.training.step import hand_over
from stepworks.training.workspace import Workspace


@dataclass(frozen=True)
class PodsRequest:
    """The pods that a step is to train in; each field is the step's parameter of that name."""

    kind: str
    name: str
    run: str
    image: str
    placement: Mapping[str, Any]
    workspace: str
    nodes: int
    least_nodes: int
    parameter_servers: int
    evaluator: bool
    runtime: str
    environment: Mapping[str, str]
    config_maps: Sequence[Mapping[str, Any]]
    secrets: Sequence[Mapping[str, Any]]
    active_deadline_seconds: int
    scheduling_timeout_seconds: int


def train_in_pods(
    spec: TrainingSpec, request: PodsRequest, model: str | Path, document: str | Path
) -> tuple[dict[str, float], dict[str, str]]:
    """Train in the pods of a training job, and copy the model and the training document to where the step wants them.

    Args:
        spec: What to train.
        request: The pods.
        model: Where the model folder is copied to.
        document: Where the training document is written to.

    Returns:
        The figures of the best epoch by their names, and metadata of the model: the job's name, namespace and uid, and
        `storage_uri`, by which KServe and other pods find the model on the claim.

    Raises:
        ConfigurationError: Something cannot work and nothing was made: a name, the workspace, the placement.
        StepworksError: As of `train_on_cluster`.
    """
    kind = training_job_kind(request.kind)
    cluster = connect_from_step(f"a {kind}")
    run, placement = request.run, PodPlacement.from_json(request.placement)
    pods = training_job_spec(
        image=request.image,
        placement=resolve_placement(placement),
        mounts=placement.mounts_of(run),
        nodes=request.nodes,
        least_nodes=request.least_nodes or None,
        parameter_servers=request.parameter_servers,
        evaluator=request.evaluator,
        environment={key: fill_in(value, run) for key, value in request.environment.items()},
        config_maps=request.config_maps,
        secrets=request.secrets,
        active_deadline_seconds=request.active_deadline_seconds,
    )
    parent = fill_in(request.workspace, run)
    refuse_unshared(parent, pods.mounts)
    workspace = Workspace(Path(make_run_folder(parent, run)))
    job = TrainingJob(cluster, kind, request.name, run, pods, request.scheduling_timeout_seconds, request.runtime)
    spec = spec.model_copy(update={"command": [fill_in(each, run) for each in spec.command]})
    metadata = train_on_cluster(spec, workspace, job)["metadata"]
    figures = hand_over(spec, workspace, model, document)
    told = {"job": metadata["name"], **{key: metadata[key] for key in ("namespace", "uid")}}
    return figures, {**told, "storage_uri": in_claim(workspace.model, pods.mounts)}
