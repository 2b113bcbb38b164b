"""From an object to its pods: which objects of which kinds it makes, and by what label they are found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stepworks.kube.references import Manifest, Selection

Kind = tuple[str, str]
_JOB: Kind = ("batch/v1", "Job")
_POD: Kind = ("v1", "Pod")
_DEPLOYMENT: Kind = ("apps/v1", "Deployment")
_REPLICA_SET: Kind = ("apps/v1", "ReplicaSet")
_JOB_SET: Kind = ("jobset.x-k8s.io/v1alpha2", "JobSet")


@dataclass(frozen=True)
class Descent:
    """How to find what an object of a kind made.

    Attributes:
        label: The label that all of it carries; its value is the object's name.
        made: The kinds between the object and its pods.
    """

    label: str
    made: tuple[Kind, ...] = ()


_OF_JOB_SET = "jobset.sigs.k8s.io/jobset-name"
_OF_TRAINING = Descent("training.kubeflow.org/job-name")
_DESCENTS: dict[tuple[str, str], Descent] = {
    ("batch", "Job"): Descent("batch.kubernetes.io/job-name"),
    ("jobset.x-k8s.io", "JobSet"): Descent(_OF_JOB_SET, (_JOB,)),
    ("trainer.kubeflow.org", "TrainJob"): Descent(_OF_JOB_SET, (_JOB,)),
    **{("kubeflow.org", kind): _OF_TRAINING for kind in ("PyTorchJob", "TFJob", "MPIJob", "XGBoostJob", "JAXJob")},
    ("serving.kserve.io", "InferenceService"): Descent(
        "serving.kserve.io/inferenceservice", (_DEPLOYMENT, _REPLICA_SET)
    ),
    ("argoproj.io", "Workflow"): Descent("workflows.argoproj.io/workflow"),
}
_RANK_LABELS = ("batch.kubernetes.io/job-completion-index", "training.kubeflow.org/replica-index")
_ROLE_LABELS = ("training.kubeflow.org/replica-type", "jobset.sigs.k8s.io/replicatedjob-name")


def made_by(manifest: Manifest) -> list[Selection]:
    """What to list to find everything that an object made, its pods last; nothing for a kind that is not known."""
    group, kind = manifest["apiVersion"].rpartition("/")[0], manifest["kind"]
    metadata = manifest["metadata"]
    namespace = metadata.get("namespace") or ""
    if (group, kind) == ("", "Pod"):
        return [Selection(*_POD, fields=f"metadata.name={metadata['name']}", namespace=namespace)]
    descent = _DESCENTS.get((group, kind))
    if descent:
        labels, made = f"{descent.label}={metadata['name']}", descent.made
    elif selector := ((manifest.get("spec") or {}).get("selector") or {}).get("matchLabels"):
        labels = ",".join(f"{key}={value}" for key, value in sorted(selector.items()))
        made = (_REPLICA_SET,) if kind == "Deployment" else ()
    else:
        return []
    selections = [Selection(*each, labels=labels, namespace=namespace) for each in (*made, _POD)]
    if kind == "TrainJob":  # its JobSet has its name, and carries no label of it
        selections.insert(0, Selection(*_JOB_SET, fields=f"metadata.name={metadata['name']}", namespace=namespace))
    return selections


def rank_of(pod: Mapping[str, Any]) -> str:
    """Which of its siblings a pod is: `index 0`, `worker 1`; empty for one that is not numbered."""
    labels = pod["metadata"].get("labels") or {}
    rank = next((labels[label] for label in _RANK_LABELS if label in labels), "")
    role = next((labels[label] for label in _ROLE_LABELS if label in labels), "index")
    return f"{role} {rank}" if rank else ""


def lacks_pods(manifest: Manifest) -> bool:
    """Whether an object that makes pods itself has made fewer than it wants."""
    spec, status = manifest.get("spec") or {}, manifest.get("status") or {}
    kind = manifest["kind"]
    if kind == "Job":
        left = (spec.get("completions") or spec.get("parallelism") or 1) - (status.get("succeeded") or 0)
        wanted = 0 if spec.get("suspend") else min(spec.get("parallelism", 1), left)
        return bool((status.get("active") or 0) < wanted)
    if kind in ("ReplicaSet", "Deployment"):
        return bool((status.get("replicas") or 0) < spec.get("replicas", 1))
    replicas = next((value for key, value in spec.items() if key.endswith("ReplicaSpecs")), None)
    if replicas is None:
        return False
    wanted = sum(each.get("replicas", 1) for each in replicas.values())
    counts = (status.get("replicaStatuses") or {}).values()
    made = sum(each.get(key) or 0 for each in counts for key in ("active", "succeeded", "failed"))
    return bool(made < wanted)
