"""How objects let go of what they hold in a cluster, and how they take it up again.

To suspend a job keeps the object and deletes its pods. A kind that cannot be suspended has to be deleted.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Literal

from stepworks.errors import ConflictError, NotFoundError
from stepworks.kube.cluster import Cluster
from stepworks.kube.kinds import Suspension, kind_of
from stepworks.kube.manifests import Manifest, annotations_of, labels_of
from stepworks.kube.objects import delete, patch
from stepworks.kube.references import reference_to
from stepworks.placement.placement import QUEUE_LABEL

SUSPENDED_ANNOTATION = "stepworks.dev/suspended"
"""Marks an object that we suspended; one that a queue or a person suspended is not ours to resume."""


def can_suspend(manifest: Manifest) -> bool:
    """Whether an object can be suspended. One in a Kueue queue cannot: Kueue would resume it."""
    return _suspension(manifest) is not None and not labels_of(manifest).get(QUEUE_LABEL)


def _suspension(manifest: Manifest) -> Suspension | None:
    known = kind_of(manifest)
    return known.suspension if known else None


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
    reference = reference_to(manifest)
    suspension = _suspension(manifest)
    if how == "delete" or suspension is None or not can_suspend(manifest):
        return "deleted" if delete(cluster, reference, uid=uid) else "found gone"
    marks = {SUSPENDED_ANNOTATION: "true", **(annotations or {})}
    try:
        patch(cluster, reference, _merged(suspension.suspend, uid, marks))
    except (NotFoundError, ConflictError):
        return "found gone"
    return "suspended"


def is_suspended_by_us(manifest: Manifest) -> bool:
    """Whether `let_go` suspended an object."""
    return SUSPENDED_ANNOTATION in annotations_of(manifest)


def resume(cluster: Cluster, manifest: Manifest) -> Manifest:
    """Let an object that `let_go` suspended go on.

    Raises:
        NotFoundError: It is not there any more.
        ConflictError: Another has its name.
        ClusterError: The API server refuses, fails or does not answer.
    """
    suspension = _suspension(manifest)
    assert suspension is not None, "only what can be suspended is marked as suspended by us"
    uid = str(manifest["metadata"]["uid"])
    return patch(cluster, reference_to(manifest), _merged(suspension.resume, uid, {SUSPENDED_ANNOTATION: None}))


def annotate(cluster: Cluster, manifest: Manifest, annotations: Mapping[str, str]) -> None:
    """Note something at an object, if it is still there."""
    with suppress(NotFoundError, ConflictError):
        uid = str(manifest["metadata"]["uid"])
        patch(cluster, reference_to(manifest), _merged({}, uid, annotations))


def _merged(change: Manifest, uid: str, annotations: Mapping[str, Any]) -> Manifest:
    # The API server refuses a patch whose uid is not the object's.
    mine = annotations_of(change)
    return {**change, "metadata": {"uid": uid, "annotations": {**mine, **annotations}}}
