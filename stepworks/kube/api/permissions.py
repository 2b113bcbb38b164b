"""Asking the API server what this process may do, without doing it."""

from __future__ import annotations

from stepworks.errors import ClusterError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.discovery import discover
from stepworks.kube.api.refusals import Operation
from stepworks.kube.api.requests import Request, send

_REVIEW = "SelfSubjectAccessReview"
_GROUP = "authorization.k8s.io"


def is_denied(cluster: Cluster, verb: str, api_version: str, kind: str) -> bool:
    """Whether the API server says that a permission is missing in the cluster's namespace.

    Args:
        cluster: Where.
        verb: `create`.
        api_version: `batch/v1`.
        kind: `Job`.

    Returns:
        False also where the API server does not say: whoever acts on a denial must be sure of it.

    Raises:
        NotFoundError: The cluster does not serve the kind.
    """
    resource = discover(cluster, api_version, kind)
    asked = {"verb": verb, "group": resource.group, "resource": resource.plural, "namespace": cluster.namespace}
    review = {"apiVersion": f"{_GROUP}/v1", "kind": _REVIEW, "spec": {"resourceAttributes": asked}}
    operation = Operation("create", _REVIEW, group=_GROUP, resource="selfsubjectaccessreviews")
    try:
        answer = send(cluster, Request(operation, "POST", f"/apis/{_GROUP}/v1/selfsubjectaccessreviews", body=review))
    except ClusterError:
        return False
    return answer["status"].get("allowed") is False
