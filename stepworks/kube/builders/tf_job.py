"""A TFJob of the training operator: for TensorFlow scripts, which find the others in the variable TF_CONFIG."""

from __future__ import annotations

from stepworks.kube.builders.pytorch_job import API_VERSION, operator_metadata, replica_spec, run_policy
from stepworks.kube.builders.workload import TrainingJobSpec
from stepworks.kube.kinds.manifests import Manifest

CONTAINER = "tensorflow"
"""The name of the container that the operator looks for."""


def build_tf_job(spec: TrainingJobSpec, *, name: str, run: str) -> Manifest:
    """Build the TFJob of a run: a chief, which says when training has succeeded, and as many workers as nodes are left.

    Args:
        spec: What it runs and where. All pods are alike.
        name: What it is called in the pipeline; its name is `<name>-<run>`, see `run_object_name`.
        run: The run's id.

    Raises:
        ConfigurationError: The name or the run's id is not valid, or the placement cannot be applied.
    """
    pods = replica_spec(spec, run, CONTAINER)
    counts = {"Chief": 1, "Worker": spec.nodes - 1, "PS": spec.parameter_servers, "Evaluator": int(spec.evaluator)}
    return {
        "apiVersion": API_VERSION,
        "kind": "TFJob",
        "metadata": operator_metadata(spec, "TFJob", name, run, replica="evaluator"),
        "spec": {
            "runPolicy": run_policy(spec),
            "tfReplicaSpecs": {group: {**pods, "replicas": count} for group, count in counts.items() if count},
        },
    }
