"""Asking what a Service of a cluster serves, from wherever the API server is reached."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.references import Reference, locate
from stepworks.kube.api.requests import Request, send


def post_to_service(
    cluster: Cluster, name: str, body: Mapping[str, Any], *, port: int = 80, namespace: str = ""
) -> Any:
    """POST JSON to the root of the HTTP server behind a Service, through the API server.

    While the server is not ready, or does not answer, it is asked again for a minute.

    Args:
        cluster: Where.
        name: The Service's name.
        body: What is sent. It may arrive more than once.
        port: The Service's port.
        namespace: The Service's namespace; empty for that of the `Cluster`.

    Returns:
        The answer's JSON.

    Raises:
        NotFoundError: There is no such Service.
        AccessDeniedError: The permission is missing.
        ClusterError: The server refuses the request or does not answer, or the API server fails.
    """
    address = locate(cluster, Reference("v1", "Service", name, namespace))
    operation = address.operation("ask", "create", subresource="proxy")
    path = address.resource.path(address.namespace, f"{name}:{port}", "proxy")
    return send(cluster, Request(operation, "POST", f"{path}/", body=body))
