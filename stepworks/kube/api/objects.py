"""Objects of any kind: get, list, apply, create, patch, delete.

Every function raises the same for the same fault: ConfigurationError for names that no object can have, NotFoundError
for a kind or a namespace that the cluster does not know, AccessDeniedError for a missing permission, AdmissionError
for an object that the cluster does not take, ConflictError for fields that others hold, and ClusterError for an API
server that fails or does not answer although it was asked for a minute.
"""

from __future__ import annotations

import copy
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar

from stepworks.errors import AlreadyExistsError, ClusterError, ConflictError, NotFoundError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.references import Reference, Selection, locate, reference_to
from stepworks.kube.api.requests import Attempts, Request, send
from stepworks.kube.kinds.manifests import Manifest, annotations_of

FIELD_MANAGER = "stepworks"
"""The name under which the API server notes the fields that we set."""
REQUEST_ANNOTATION = "stepworks.dev/request"
"""Holds the id of the request that created the object: when its answer was lost, our object is told by it."""
_Part = TypeVar("_Part")
_PAGE = 500
_WRITE = [("fieldManager", FIELD_MANAGER), ("fieldValidation", "Strict")]  # unknown fields are errors, not dropped


def find(cluster: Cluster, reference: Reference) -> Manifest | None:
    """Read an object, or None if it is not there."""
    address = locate(cluster, reference)
    try:
        found: Manifest = send(cluster, Request(address.operation("get"), "GET", address.path()))
    except NotFoundError:
        return None
    return found


def get(cluster: Cluster, reference: Reference) -> Manifest:
    """Read an object.

    Raises:
        NotFoundError: It is not there.
    """
    address = locate(cluster, reference)
    found: Manifest = send(cluster, Request(address.operation("get"), "GET", address.path()))
    return found


def list_objects(cluster: Cluster, selection: Selection) -> list[Manifest]:
    """Read all objects that are selected."""
    return list_with_version(cluster, selection)[0]


def list_parts(cluster: Cluster, selection: Selection, part: Callable[[Manifest], _Part]) -> list[_Part]:
    """Read all objects that are selected, and keep a part of each: of thousands, memory holds one page in whole.

    Args:
        cluster: Where.
        selection: Which.
        part: What is kept of an object.
    """
    return _list(cluster, selection, part)[0]


def list_with_version(
    cluster: Cluster, selection: Selection, attempts: Attempts | None = None
) -> tuple[list[Manifest], str]:
    """Read all objects that are selected, and the resourceVersion from which a watch of them goes on.

    Args:
        cluster: Where.
        selection: Which.
        attempts: Decides about further attempts; by default there are some for a minute.
    """
    return _list(cluster, selection, lambda item: item, attempts)


def _list(
    cluster: Cluster, selection: Selection, part: Callable[[Manifest], _Part], attempts: Attempts | None = None
) -> tuple[list[_Part], str]:
    address = locate(cluster, selection)
    operation = address.operation("list")
    items: list[_Part] = []
    token, page_size = "", _PAGE
    while True:
        page = [("limit", str(page_size))] if page_size else []
        page += [("continue", token)] if token else []
        request = Request(operation, "GET", address.path(), [*selection.query, *page])
        try:
            answer = send(cluster, request, attempts)
        except ClusterError as error:
            if not (token and getattr(error.__cause__, "status", None) == 410):
                raise
            # The list grew too old between two pages: once more from its beginning, and in one piece.
            items, token, page_size = [], "", 0
            continue
        # The members of a list of Kubernetes' own kinds do not say what they are.
        kind = {"apiVersion": selection.api_version, "kind": selection.kind}
        items += [part(kind | item) for item in answer.get("items") or []]
        token = answer["metadata"].get("continue") or ""
        if not token:
            return items, answer["metadata"].get("resourceVersion") or ""


def apply(cluster: Cluster, manifest: Manifest, *, dry_run: bool = False) -> Manifest:
    """Create an object, or set the fields that the manifest names; what we set before and it no longer names goes.

    This is server-side apply. Fields that others hold are never taken from them.

    Args:
        cluster: Where.
        manifest: The object, with the fields that are ours to set.
        dry_run: Whether the API server only checks it, and stores nothing.

    Returns:
        The object as it is now.

    Raises:
        ConflictError: Others hold fields of it, with other values; it says who holds which.
    """
    address = locate(cluster, reference_to(manifest))
    request = Request(
        address.operation("apply", "create", "patch"),
        "PATCH",
        address.path(),
        [*_WRITE, ("force", "false"), *_dry(dry_run)],
        manifest,
        "application/apply-patch+yaml",
    )
    applied: Manifest = send(cluster, request)
    return applied


def create(cluster: Cluster, manifest: Manifest, *, dry_run: bool = False) -> Manifest:
    """Create an object that is not there yet.

    An answer that is lost on its way does not lose the object: it is known by an annotation that names the request.

    Args:
        cluster: Where.
        manifest: The object.
        dry_run: Whether the API server only checks it, and stores nothing.

    Returns:
        The object as it was created.

    Raises:
        AlreadyExistsError: There is an object of that name, which is not from this call.
    """
    reference = reference_to(manifest)
    address = locate(cluster, reference)
    request_id = str(uuid.uuid4())
    marked = copy.deepcopy(manifest)
    marked["metadata"]["annotations"] = {
        **annotations_of(manifest),
        REQUEST_ANNOTATION: request_id,
    }
    collection = locate(cluster, Selection(reference.api_version, reference.kind, namespace=reference.namespace)).path()
    operation = address.operation("create")
    attempts = Attempts(cluster, operation)
    try:
        request = Request(operation, "POST", collection, [*_WRITE, *_dry(dry_run)], marked)
        created: Manifest = send(cluster, request, attempts)
    except AlreadyExistsError:
        present = find(cluster, reference) if attempts.maybe_carried_out else None
        if present is None or annotations_of(present).get(REQUEST_ANNOTATION) != request_id:
            raise
        return present
    return created


def patch(cluster: Cluster, reference: Reference, changes: Mapping[str, Any], *, dry_run: bool = False) -> Manifest:
    """Change an object by a merge patch: what is given replaces what is there, lists as a whole; None takes away.

    Args:
        cluster: Where.
        reference: Which.
        changes: The fields to change. With `metadata.resourceVersion` only the object as it was read is changed.
        dry_run: Whether the API server only checks it, and stores nothing.

    Raises:
        NotFoundError: It is not there.
        ConflictError: It is no longer what it was when it was read.
    """
    address = locate(cluster, reference)
    query = [*_WRITE, *_dry(dry_run)]
    request = Request(
        address.operation("patch"), "PATCH", address.path(), query, changes, "application/merge-patch+json"
    )
    changed: Manifest = send(cluster, request)
    return changed


def delete(
    cluster: Cluster,
    reference: Reference,
    *,
    uid: str = "",
    propagation: Literal["Background", "Foreground", "Orphan"] = "Background",
    dry_run: bool = False,
) -> bool:
    """Delete an object; it goes when its finalizers and, in the foreground, its dependents are done.

    Args:
        cluster: Where.
        reference: Which.
        uid: Delete only the object that has this uid, and not one that came in its place.
        propagation: What becomes of the objects that it owns: they go after it, before it, or stay.
        dry_run: Whether the API server only checks it, and deletes nothing.

    Returns:
        Whether there was something to delete.
    """
    address = locate(cluster, reference)
    body: Manifest = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation}
    if uid:
        body["preconditions"] = {"uid": uid}
    if dry_run:
        body["dryRun"] = ["All"]  # beside a body the API server does not read the query
    operation = address.operation("delete")
    attempts = Attempts(cluster, operation)
    try:
        send(cluster, Request(operation, "DELETE", address.path(), body=body), attempts)
    except NotFoundError:
        return attempts.maybe_carried_out
    except ConflictError:  # only a uid can be in conflict: the object is gone, and another has its name
        return attempts.maybe_carried_out
    return True


def _dry(dry_run: bool) -> list[tuple[str, str]]:
    return [("dryRun", "All")] if dry_run else []
