"""A TrainJob of Kubeflow Trainer v2: the same pod on several nodes, joined by torchrun.

What a TrainJob can say of its pods differs between versions of Trainer, and is read from the cluster's schema. What
none of them can say (a priority class, how often it restarts) is in a TrainingRuntime of the run's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from stepworks.kube.api.schema import Schema
from stepworks.kube.builders.pod_template import owner_settings
from stepworks.kube.builders.workload import DEFAULT_GRACE_SECONDS, TrainingJobSpec, pod_template
from stepworks.kube.kinds.manifests import Manifest
from stepworks.kube.runs.belonging import RUN_LABEL, check_run
from stepworks.placement.names import LONGEST_NAME, run_object_name

TRAINER = "trainer.kubeflow.org"
API_VERSION = f"{TRAINER}/v1alpha1"
CONTAINER = "node"
"""The name of the container, and of the group of pods, that Trainer looks for."""
MANAGER = "stepworks.dev/train"
"""Signs our patches of a runtime, beside which Kueue may have its own."""

_POD_SPECS = {
    "runtimePatches": "trainingRuntimeSpec.template.spec.replicatedJobs.template.spec.template.spec",
    "podTemplateOverrides": "spec",
}
"""Where a TrainJob changes the pods of its runtime, since Trainer 2.2 and since 2.1. Before that the pods could be
given no annotations, and so would get a sidecar that outlives them."""
_POD_FIELDS = (
    "affinity",
    "imagePullSecrets",
    "nodeSelector",
    "serviceAccountName",
    "terminationGracePeriodSeconds",
    "tolerations",
    "volumes",
)
_OF_TRAINER = ("containers", "restartPolicy")
"""Fields of a pod that `spec.trainer` has, or that the runtime keeps to itself."""


@dataclass(frozen=True)
class Served:
    """What a TrainJob can say in a cluster.

    Attributes:
        overrides: The field by which it changes the pods of its runtime; None if there is none that suffices.
        pod_fields: What it can change in the spec of a pod.
        deadline: Whether it has a deadline.
    """

    overrides: Literal["runtimePatches", "podTemplateOverrides"] | None
    pod_fields: frozenset[str] = frozenset()
    deadline: bool = False


def served_by(schema: Schema) -> Served:
    """What a TrainJob can say in a cluster, by the schema of TrainJobs there."""
    deadline = schema.has_field("spec.activeDeadlineSeconds")
    names: tuple[Literal["runtimePatches"], Literal["podTemplateOverrides"]] = (
        "runtimePatches",
        "podTemplateOverrides",
    )
    for name in names:
        if schema.has_field(f"spec.{name}"):
            has = (field for field in _POD_FIELDS if schema.has_field(f"spec.{name}.{_POD_SPECS[name]}.{field}"))
            return Served(name, frozenset(has), deadline)
    return Served(None, deadline=deadline)


def beyond_overrides(spec: TrainingJobSpec, served: Served) -> list[str]:
    """Say what of a training job a TrainJob cannot tell a runtime that is there, so that it takes one of its own.

    Raises:
        ConfigurationError: The placement cannot be applied.
    """
    pod = pod_template(spec, {}, container=CONTAINER)["spec"]
    said = {*served.pod_fields, *_OF_TRAINER}
    if spec.termination_grace_period_seconds == DEFAULT_GRACE_SECONDS:
        said.add("terminationGracePeriodSeconds")
    return [
        *(["annotations of its pods"] if served.overrides is None else []),
        *(f"{field} of its pods" for field in sorted(pod) if field not in said),
        *([f"{spec.restarts} restarts"] if spec.restarts else []),
    ]


def build_train_job(spec: TrainingJobSpec, *, name: str, run: str, served: Served, runtime: str | None) -> Manifest:
    """Build the TrainJob of a run.

    Args:
        spec: What it runs and where.
        name: What it is called in the pipeline; its name is `<name>-<run>`, see `run_object_name`.
        run: The run's id.
        served: What a TrainJob can say in the cluster.
        runtime: The ClusterTrainingRuntime whose pods it changes; `beyond_overrides` must be empty. None for the
            runtime that `build_training_runtime` builds.

    Raises:
        ConfigurationError: The name or the run's id is not valid, or the placement cannot be applied.
    """
    labels = {RUN_LABEL: check_run(run)}
    full_name = _name(spec, name, run)
    trainer: Manifest = {"numNodes": spec.nodes, "numProcPerNode": spec.processes_per_node}
    reference = {"apiGroup": TRAINER, "kind": "TrainingRuntime", "name": full_name}
    overrides: Manifest = {}
    if runtime is not None:
        reference = {"apiGroup": TRAINER, "kind": "ClusterTrainingRuntime", "name": runtime}
        template = pod_template(spec, labels, container=CONTAINER)
        trainer |= _trainer_fields(template)
        overrides = _overrides(template, served)
    return {
        "apiVersion": API_VERSION,
        "kind": "TrainJob",
        "metadata": {"name": full_name, "labels": {**labels, **owner_settings(spec.placement).labels}},
        "spec": {
            "runtimeRef": reference,
            "suspend": spec.suspend,
            **({"activeDeadlineSeconds": spec.active_deadline_seconds} if served.deadline else {}),
            "trainer": trainer,
            **overrides,
        },
    }


def build_training_runtime(spec: TrainingJobSpec, *, name: str, run: str, served: Served) -> Manifest:
    """Build the TrainingRuntime of a run, which holds everything of its pods.

    One pod that fails ends the others, and all are begun anew, as often as the placement's `retry.count` says; that a
    pod was preempted or evicted, or lost its node, is not counted. New pods wait until the old ones are gone, so that
    no two attempts write the same checkpoints.

    Args:
        spec: What it runs and where.
        name: As of `build_train_job`.
        run: The run's id.
        served: What a TrainJob can say in the cluster. Where it has no deadline, each attempt has one.

    Raises:
        ConfigurationError: The name or the run's id is not valid, or the placement cannot be applied.
    """
    labels = {RUN_LABEL: check_run(run)}
    disrupted = [{"type": "DisruptionTarget", "status": "True"}]
    rules: list[Manifest] = [
        _rule("disrupted", "RestartJobSetAndIgnoreMaxRestarts", "PodFailurePolicy"),
        _rule("deadline", "FailJobSet", "DeadlineExceeded"),
    ]
    job = {
        "backoffLimit": 0,
        "podFailurePolicy": {"rules": [{"action": "FailJob", "onPodConditions": disrupted}]},
        **({} if served.deadline else {"activeDeadlineSeconds": spec.active_deadline_seconds}),
        "template": pod_template(spec, labels, container=CONTAINER),
    }
    replicated = {
        "name": CONTAINER,
        "template": {"metadata": {"labels": {f"{TRAINER}/trainjob-ancestor-step": "trainer"}}, "spec": job},
    }
    failure = {"maxRestarts": spec.restarts, "restartStrategy": "BlockingRecreate", "rules": rules}
    return {
        "apiVersion": API_VERSION,
        "kind": "TrainingRuntime",
        "metadata": {"name": _name(spec, name, run), "labels": {**labels, f"{TRAINER}/framework": "torch"}},
        "spec": {
            "mlPolicy": {"numNodes": spec.nodes, "torch": {}},
            "template": {"spec": {"failurePolicy": failure, "replicatedJobs": [replicated]}},
        },
    }


def _name(spec: TrainingJobSpec, name: str, run: str) -> str:
    # JobSet names a pod <name>-node-0-<index>-<five letters>.
    longest = LONGEST_NAME - len(f"-{CONTAINER}-0-{spec.nodes - 1}-") - 5
    return run_object_name("TrainJob", name, run, longest=longest)


def _rule(name: str, action: str, reason: str) -> Manifest:
    return {"name": name, "action": action, "onJobFailureReasons": [reason]}


def _trainer_fields(template: Manifest) -> Manifest:
    (container,) = template["spec"]["containers"]
    names = {"image": "image", "command": "command", "args": "args", "env": "env", "resources": "resourcesPerNode"}
    return {name: container[field] for field, name in names.items() if field in container}


def _overrides(template: Manifest, served: Served) -> Manifest:
    (container,) = template["spec"]["containers"]
    pod: dict[str, Any] = {key: value for key, value in template["spec"].items() if key in served.pod_fields}
    if "volumeMounts" in container:
        pod["containers"] = [{"name": CONTAINER, "volumeMounts": container["volumeMounts"]}]
    changed = {"metadata": template["metadata"], **({"spec": pod} if pod else {})}
    if served.overrides == "podTemplateOverrides":
        return {"podTemplateOverrides": [{"targetJobs": [{"name": CONTAINER}], **changed}]}
    job = {"name": CONTAINER, "template": {"spec": {"template": changed}}}
    patch = {"template": {"spec": {"replicatedJobs": [job]}}}
    return {"runtimePatches": [{"manager": MANAGER, "trainingRuntimeSpec": patch}]}
