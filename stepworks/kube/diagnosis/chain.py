"""From an object to its pods: which objects of which kinds it makes, and by what label they are found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from stepworks.kube.api.references import Selection
from stepworks.kube.kinds.manifests import Manifest, annotations_of, labels_of
from stepworks.kube.kinds.table import Descent, kind_of

_POD = ("v1", "Pod")
_REVISION = "deployment.kubernetes.io/revision"
_RANK_LABELS = ("batch.kubernetes.io/job-completion-index", "training.kubeflow.org/replica-index")
_ROLE_LABELS = ("training.kubeflow.org/replica-type", "jobset.sigs.k8s.io/replicatedjob-name")


def made_by(manifest: Manifest) -> list[Selection]:
    """What to list to find everything that an object made, its pods last; nothing for a kind that is not known."""
    metadata = manifest["metadata"]
    name, namespace = metadata["name"], metadata.get("namespace") or ""
    if (manifest["apiVersion"], manifest["kind"]) == _POD:
        return [Selection(*_POD, fields=f"metadata.name={name}", namespace=namespace)]
    known = kind_of(manifest)
    descent = known.descent if known and known.descent else Descent()
    labels = f"{descent.label}={name}" if descent.label else _selector(manifest)
    if not labels:
        return []
    selections = [Selection(*each, labels=labels, namespace=namespace) for each in (*descent.made, _POD)]
    if descent.namesake:
        selections.insert(0, Selection(*descent.namesake, fields=f"metadata.name={name}", namespace=namespace))
    return selections


def without_replaced(made: Iterable[Manifest]) -> list[Manifest]:
    """What was made without the ReplicaSets of a Deployment that a newer one replaces, and without their pods.

    They serve until the newer ones are ready, and are not what keeps the Deployment from coming about.
    """
    found = list(made)
    newest: dict[str, int] = {}
    for each in found:
        newest[_owner(each)] = max(_revision(each), newest.get(_owner(each), 0))
    replaced = {each["metadata"]["uid"] for each in found if _revision(each) < newest[_owner(each)]}
    return [each for each in found if each["metadata"]["uid"] not in replaced and _owner(each) not in replaced]


def _owner(manifest: Manifest) -> str:
    owners = manifest["metadata"].get("ownerReferences") or [{}]
    return str(owners[0].get("uid") or "")


def _revision(manifest: Manifest) -> int:
    """Which revision of its Deployment a ReplicaSet is; 0 for whatever has none."""
    told = annotations_of(manifest).get(_REVISION) if manifest["kind"] == "ReplicaSet" else None
    return int(told) if told else 0


def _selector(manifest: Manifest) -> str:
    """The labels by which an object says itself that it finds its pods; empty if it does not."""
    selector = ((manifest.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
    return ",".join(f"{key}={value}" for key, value in sorted(selector.items()))


def rank_of(pod: Mapping[str, Any]) -> str:
    """Which of its siblings a pod is: `index 0`, `worker 1`; empty for one that is not numbered."""
    labels = labels_of(pod)
    rank = next((labels[label] for label in _RANK_LABELS if label in labels), "")
    role = next((labels[label] for label in _ROLE_LABELS if label in labels), "index")
    return f"{role} {rank}" if rank else ""


def lacks_pods(manifest: Manifest) -> bool:
    """Whether an object that makes pods itself has made fewer than it wants."""
    known = kind_of(manifest)
    return known is not None and known.lacks_pods is not None and known.lacks_pods(manifest)
