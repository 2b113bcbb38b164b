"""A PyTorchJob of the training operator: a master and workers, joined by torchrun."""

from __future__ import annotations

from stepworks.kube.builders.pod_template import owner_settings
from stepworks.kube.builders.workload import TrainingJobSpec, pod_template
from stepworks.kube.kinds.manifests import Manifest
from stepworks.kube.runs.belonging import RUN_LABEL, check_run
from stepworks.placement.names import LONGEST_NAME, run_object_name

API_VERSION = "kubeflow.org/v1"
CONTAINER = "pytorch"
"""The name of the container that the operator looks for."""
TTL_SECONDS = 86_400
"""How long a finished job stays, for its logs and for a retried step."""


def build_pytorch_job(spec: TrainingJobSpec, *, name: str, run: str) -> Manifest:
    """Build the PyTorchJob of a run.

    With a `retry` in the placement, a container that failed is started again, and a pod that was lost is made again;
    without, either is a failure. With `least_nodes` all pods are workers.

    Args:
        spec: What it runs and where.
        name: What it is called in the pipeline; its name is `<name>-<run>`, see `run_object_name`.
        run: The run's id.

    Raises:
        ConfigurationError: The name or the run's id is not valid, or the placement cannot be applied.
    """
    pods = replica_spec(spec, run, CONTAINER)
    if spec.least_nodes is None:
        groups = {"Master": {**pods, "replicas": 1}}
        if spec.nodes > 1:
            groups["Worker"] = {**pods, "replicas": spec.nodes - 1}
    else:
        groups = {"Worker": {**pods, "replicas": spec.nodes}}
    return {
        "apiVersion": API_VERSION,
        "kind": "PyTorchJob",
        "metadata": operator_metadata(spec, "PyTorchJob", name, run, replica="worker"),
        "spec": {
            "nprocPerNode": str(spec.processes_per_node),
            "runPolicy": run_policy(spec),
            **({"elasticPolicy": _elastic_policy(spec, spec.least_nodes)} if spec.least_nodes else {}),
            "pytorchReplicaSpecs": groups,
        },
    }


def _elastic_policy(spec: TrainingJobSpec, least_nodes: int) -> Manifest:
    return {
        "minReplicas": least_nodes,
        "maxReplicas": spec.nodes,
        "rdzvBackend": "c10d",
        "maxRestarts": spec.restarts,
    }


def replica_spec(spec: TrainingJobSpec, run: str, container: str) -> Manifest:
    """What the training operator is to know of pods that are alike, but for their number.

    Raises:
        ConfigurationError: The placement cannot be applied.
    """
    template = pod_template(spec, {RUN_LABEL: check_run(run)}, container=container, restart_policy=None)
    # The operator looks at the job's deadline only when something happens to the job: so let its pods end.
    own = template["spec"].get("activeDeadlineSeconds", spec.active_deadline_seconds)
    template["spec"]["activeDeadlineSeconds"] = min(own, spec.active_deadline_seconds)
    return {"restartPolicy": "OnFailure" if spec.restarts else "Never", "template": template}


def run_policy(spec: TrainingJobSpec) -> Manifest:
    """How the training operator ends a job, and when."""
    return {
        "cleanPodPolicy": "Running",
        "ttlSecondsAfterFinished": TTL_SECONDS,
        "activeDeadlineSeconds": spec.active_deadline_seconds,
        # It counts the restarts of all containers, and those of a failure are one for each node.
        **({"backoffLimit": spec.restarts * spec.nodes + 1} if spec.restarts else {}),
        "suspend": spec.suspend,
    }


def operator_metadata(spec: TrainingJobSpec, kind: str, name: str, run: str, *, replica: str) -> Manifest:
    """The metadata of a job of the training operator.

    Args:
        spec: What it runs and where.
        kind: The job's kind, for the message.
        name: What it is called in the pipeline.
        run: The run's id.
        replica: The longest name of a kind of pod, which follows the job's name in the names of pods and Services.

    Raises:
        ConfigurationError: The name or the run's id is not valid.
    """
    longest = LONGEST_NAME - len(f"-{replica}-{spec.nodes - 1}")
    labels = {RUN_LABEL: check_run(run), **owner_settings(spec.placement).labels}
    return {"name": run_object_name(kind, name, run, longest=longest), "labels": labels}
