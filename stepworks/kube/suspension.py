"""How objects let go of what they hold in a cluster, and how they take it up again.

To suspend a job keeps the object and deletes its pods. A kind that cannot be suspended has to be deleted.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Literal

from stepworks.errors import ConflictError, NotFoundError
from stepworks.kube.cluster import Cluster
from stepworks.kube.objects import delete, patch
from stepworks.kube.references import Manifest, Reference

SUSPENDED_ANNOTATION = "stepworks.dev/suspended"
"""Marks an object that we suspended; one that a queue or a person suspended is not ours to resume."""
_QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
_SPEC = {"spec": {"suspend": True}}, {"spec": {"suspend": False}}
_RUN_POLICY = (
    # A job that has failed keeps the pods that still run, and their GPUs, unless this policy says otherwise.
    {"spec": {"runPolicy": {"suspend": True, "cleanPodPolicy": "Running"}}},
    {"spec": {"runPolicy": {"suspend": False}}},
)
_STOP = "serving.kserve.io/stop"
_STOPPED = {"metadata": {"annotations": {_STOP: "true"}}}, {"metadata": {"annotations": {_STOP: None}}}
_PATCHES: dict[tuple[str, str], tuple[Manifest, Manifest]] = {
    ("batch", "Job"): _SPEC,
    ("jobset.x-k8s.io", "JobSet"): _SPEC,
    ("trainer.kubeflow.org", "TrainJob"): _SPEC,
    ("kubeflow.org", "PyTorchJob"): _RUN_POLICY,
    ("kubeflow.org", "TFJob"): _RUN_POLICY,
    ("serving.kserve.io", "InferenceService"): _STOPPED,
}


def can_suspend(manifest: Manifest) -> bool:
    """Whether an object can be suspended. One in a Kueue queue cannot: Kueue would resume it."""
    queued = (manifest["metadata"].get("labels") or {}).get(_QUEUE_LABEL)
    return _key(manifest) in _PATCHES and not queued


def let_go(
    cluster: Cluster,
    manifest: Manifest,
    *,
    uid: str,
    how: Literal["suspend", "delete"],
    annotations: Mapping[str, str] | None = None,
) -> str:
    """Take from an object what it holds, with one request.

    An object that is gone, or in whose place there is another one, holds nothing any more.

    Args:
        cluster: Where.
        manifest: The object.
        uid: The uid of the object that is meant.
        how: Whether to suspend it. One that cannot be suspended is deleted.
        annotations: What a suspended object is to say of the end it came to.

    Returns:
        What was done, in the past tense.

    Raises:
        ClusterError: The API server refuses, fails or does not answer.
    """
    reference = _reference(manifest)
    if how == "delete" or not can_suspend(manifest):
        return "deleted" if delete(cluster, reference, uid=uid) else "found gone"
    suspending = _PATCHES[_key(manifest)][0]
    marks = {SUSPENDED_ANNOTATION: "true", **(annotations or {})}
    try:
        patch(cluster, reference, _merged(suspending, uid, marks))
    except (NotFoundError, ConflictError):
        return "found gone"
    return "suspended"


def is_suspended_by_us(manifest: Manifest) -> bool:
    """Whether `let_go` suspended an object."""
    return SUSPENDED_ANNOTATION in (manifest["metadata"].get("annotations") or {})


def resume(cluster: Cluster, manifest: Manifest) -> Manifest:
    """Let an object that `let_go` suspended go on.

    Raises:
        NotFoundError: It is not there any more.
        ConflictError: Another has its name.
        ClusterError: The API server refuses, fails or does not answer.
    """
    resuming = _PATCHES[_key(manifest)][1]
    uid = str(manifest["metadata"]["uid"])
    return patch(cluster, _reference(manifest), _merged(resuming, uid, {SUSPENDED_ANNOTATION: None}))


def annotate(cluster: Cluster, manifest: Manifest, annotations: Mapping[str, str]) -> None:
    """Note something at an object, if it is still there."""
    with suppress(NotFoundError, ConflictError):
        uid = str(manifest["metadata"]["uid"])
        patch(cluster, _reference(manifest), _merged({}, uid, annotations))


def _merged(change: Manifest, uid: str, annotations: Mapping[str, Any]) -> Manifest:
    # The API server refuses a patch whose uid is not the object's.
    mine = (change.get("metadata") or {}).get("annotations") or {}
    return {**change, "metadata": {"uid": uid, "annotations": {**mine, **annotations}}}


def _key(manifest: Manifest) -> tuple[str, str]:
    return manifest["apiVersion"].rpartition("/")[0], manifest["kind"]


def _reference(manifest: Manifest) -> Reference:
    metadata = manifest["metadata"]
    return Reference(manifest["apiVersion"], manifest["kind"], metadata["name"], metadata.get("namespace") or "")
