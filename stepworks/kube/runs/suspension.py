"""How objects let go of what they hold in a cluster, and how they take it up again.

To suspend a job keeps the object and deletes its pods. A kind that cannot be suspended has to be deleted.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Literal

from stepworks.errors import ConflictError, NotFoundError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import delete, find, patch
from stepworks.kube.api.permissions import is_denied
from stepworks.kube.api.references import reference_to
from stepworks.kube.kinds.manifests import Manifest, annotations_of, labels_of
from stepworks.kube.kinds.table import Suspension, kind_of
from stepworks.placement.placement import QUEUE_LABEL

SUSPENDED_ANNOTATION = "stepworks.dev/suspended"
"""Marks an object that we suspended; one that a queue or a person suspended is not ours to resume."""
_ATTEMPTS = 5
"""How often to change an object that others change at the same moment."""


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
    suspension = _suspension(manifest)
    if how == "delete" or suspension is None or not can_suspend(manifest):
        return "deleted" if delete(cluster, reference_to(manifest), uid=uid) else "found gone"
    marks = {SUSPENDED_ANNOTATION: "true", **(annotations or {})}
    return "suspended" if _change(cluster, manifest, uid, suspension.suspend, marks) else "found gone"


def check_may_let_go(cluster: Cluster, manifest: Manifest, *, how: Literal["suspend", "delete"]) -> None:
    """See that an object can be let go of, before there is one that holds something; to delete it is enough.

    Args:
        cluster: Where.
        manifest: The object, which need not be there.
        how: How it is to be let go of.

    Raises:
        AccessDeniedError: The permission is missing; nothing was changed.
        ClusterError: The API server fails or does not answer.
    """
    verbs = ("patch", "delete") if how == "suspend" and can_suspend(manifest) else ("delete",)
    if not all(is_denied(cluster, verb, manifest["apiVersion"], manifest["kind"]) for verb in verbs):
        return
    reference = reference_to(manifest)
    # Tried in vain, for the refusal: it says who may not, and which rule would let it.
    with suppress(NotFoundError):
        if "patch" in verbs:
            patch(cluster, reference, {}, dry_run=True)
        else:
            delete(cluster, reference, dry_run=True)


def is_suspended_by_us(manifest: Manifest) -> bool:
    """Whether `let_go` suspended an object."""
    return SUSPENDED_ANNOTATION in annotations_of(manifest)


def resume(cluster: Cluster, manifest: Manifest) -> Manifest | None:
    """Let an object that `let_go` suspended go on.

    Returns:
        The object as it is then; None if it is gone, or another has its name.

    Raises:
        ClusterError: The API server refuses, fails or does not answer.
    """
    suspension = _suspension(manifest)
    assert suspension is not None, "only what can be suspended is marked as suspended by us"
    return _change(cluster, manifest, str(manifest["metadata"]["uid"]), suspension.resume, {SUSPENDED_ANNOTATION: None})


def _change(
    cluster: Cluster, manifest: Manifest, uid: str, change: Manifest, annotations: Mapping[str, Any]
) -> Manifest | None:
    """Change an object and its annotations; None if it is gone, or another has its name.

    Raises:
        ConflictError: The API server keeps answering that the object has just been changed by others.
        ClusterError: It refuses, fails or does not answer.
    """
    reference = reference_to(manifest)
    metadata = {"uid": uid, "annotations": {**annotations_of(change), **annotations}}
    for attempts_left in reversed(range(_ATTEMPTS)):
        try:
            # The API server refuses a patch whose uid is not the object's.
            return patch(cluster, reference, {**change, "metadata": metadata})
        except NotFoundError:
            return None
        except ConflictError:  # of the uid, or since others changed the object at the same moment
            present = find(cluster, reference)
            if present is None or present["metadata"]["uid"] != uid:
                return None
            if not attempts_left:
                raise
    return None
