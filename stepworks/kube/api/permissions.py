"""Asking the API server what somebody may do, without doing it."""

from __future__ import annotations

from typing import Any

from stepworks.errors import ClusterError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.discovery import discover
from stepworks.kube.api.refusals import Operation
from stepworks.kube.api.requests import Request, send

_GROUP = "authorization.k8s.io"
_AUTHENTICATION = "authentication.k8s.io"
_ACCOUNTS = "system:serviceaccount:"


def is_denied(cluster: Cluster, verb: str, api_version: str, kind: str) -> bool:
    """Whether the API server says that this process misses a permission in the cluster's namespace.

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
    try:
        return not is_allowed(cluster, verb, resource.group, resource.plural)
    except ClusterError:
        return False


def is_allowed(
    cluster: Cluster, verb: str, group: str, resource: str, *, service_account: str = "", namespace: str = ""
) -> bool:
    """Whether somebody may do something in a namespace.

    Args:
        cluster: Where.
        verb: `create`.
        group: The API group; empty for the core's.
        resource: The resource, with its subresource if it is one: `pods/log`.
        service_account: A ServiceAccount of the cluster's namespace; empty for this process itself, which may always
            ask of itself.
        namespace: The namespace; empty for that of the cluster.

    Raises:
        AccessDeniedError: This process may not ask of others; whoever owns the cluster's namespace mostly may.
        ClusterError: The API server fails or does not answer.
    """
    name, _, subresource = resource.partition("/")
    asked = {"verb": verb, "group": group, "resource": name, "namespace": namespace or cluster.namespace}
    spec: dict[str, Any] = {"resourceAttributes": asked | ({"subresource": subresource} if subresource else {})}
    kind, within = "SelfSubjectAccessReview", ""
    if service_account:
        # One of the namespace takes no rights on the cluster as a whole.
        local = namespace in ("", cluster.namespace)
        kind = "LocalSubjectAccessReview" if local else "SubjectAccessReview"
        within = f"namespaces/{cluster.namespace}/" if local else ""
        accounts = "system:serviceaccounts"
        spec["user"] = f"{_ACCOUNTS}{cluster.namespace}:{service_account}"
        spec["groups"] = [accounts, f"{accounts}:{cluster.namespace}", "system:authenticated"]
    plural = f"{kind.lower()}s"
    review: dict[str, Any] = {"apiVersion": f"{_GROUP}/v1", "kind": kind, "spec": spec}
    if within:
        review["metadata"] = {"namespace": cluster.namespace}
    operation = Operation("create", kind, group=_GROUP, resource=plural)
    answer = send(cluster, Request(operation, "POST", f"/apis/{_GROUP}/v1/{within}{plural}", body=review))
    return answer["status"].get("allowed") is True


def own_service_account(cluster: Cluster) -> str:
    """The name of the ServiceAccount that this process runs under; empty where it is somebody else.

    Raises:
        ClusterError: The API server fails or does not answer.
    """
    operation = Operation("create", "SelfSubjectReview", group=_AUTHENTICATION, resource="selfsubjectreviews")
    review = {"apiVersion": f"{_AUTHENTICATION}/v1", "kind": "SelfSubjectReview"}
    path = f"/apis/{_AUTHENTICATION}/v1/selfsubjectreviews"
    answer = send(cluster, Request(operation, "POST", path, body=review))
    user = str(answer["status"].get("userInfo", {}).get("username", ""))
    return user.rpartition(":")[2] if user.startswith(_ACCOUNTS) else ""
