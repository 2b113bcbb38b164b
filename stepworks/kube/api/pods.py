"""What can be done with pods alone: reading their logs, and evicting them."""

from __future__ import annotations

from collections.abc import Iterator

from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.references import Reference, locate
from stepworks.kube.api.requests import Attempts, Request, open_response, send

_LOG_BYTES = 1 << 20
_SILENT_SECONDS = 60.0
"""How long a log that is followed may say nothing before it is asked for anew: its connection may be dead."""
_BUFFER = 65536


def read_log(
    cluster: Cluster,
    name: str,
    *,
    container: str = "",
    tail_lines: int = 50,
    previous: bool = False,
    namespace: str = "",
) -> str:
    """Read the last lines that a container of a pod has written; at most a mebibyte of them.

    Args:
        cluster: Where.
        name: The pod's name.
        container: The container; it may be left out if the pod has only one.
        tail_lines: How many lines.
        previous: Whether to read what the container wrote before its last restart.
        namespace: The pod's namespace; empty for that of the `Cluster`.

    Raises:
        NotFoundError: There is no such pod.
        AccessDeniedError: The permission is missing.
        ClusterError: The container has not started yet, or there is none of that name; or the API server fails.
    """
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError

    address = locate(cluster, Reference("v1", "Pod", name, namespace))
    operation = address.operation("read the log of", "get", subresource="log")
    query = [("tailLines", str(tail_lines)), ("limitBytes", str(_LOG_BYTES))]
    query += [("container", container)] if container else []
    query += [("previous", "true")] if previous else []
    attempts = Attempts(cluster, operation)
    while True:
        try:
            response = open_response(cluster, Request(operation, "GET", address.path("log"), query))
            return str(response.data.decode(errors="replace"))
        except (ApiException, HTTPError) as error:
            attempts.failed(error)


def follow_log(cluster: Cluster, name: str, *, namespace: str = "") -> Iterator[bytes]:
    """Read what the only container of a pod writes, as it writes it and to its end, whatever the connection does.

    Args:
        cluster: Where.
        name: The pod's name; its container has started.
        namespace: The pod's namespace; empty for that of the `Cluster`.

    Raises:
        NotFoundError: There is no such pod, or no more.
        AccessDeniedError: The permission is missing.
        ClusterError: The container has not started yet, or the API server fails.
    """
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError, ReadTimeoutError

    address = locate(cluster, Reference("v1", "Pod", name, namespace))
    operation = address.operation("follow the log of", "get", subresource="log")
    request = Request(operation, "GET", address.path("log"), [("follow", "true")])
    attempts = Attempts(cluster, operation)
    told = 0
    while True:
        try:
            response = open_response(cluster, request, read_seconds=_SILENT_SECONDS)
            skipped = 0  # it begins at its first byte again
            while chunk := response.read1(_BUFFER):
                new = chunk[max(0, told - skipped) :]
                skipped += len(chunk)
                told += len(new)
                if new:
                    attempts.succeeded()
                    yield new
        except ReadTimeoutError:
            continue
        except (ApiException, HTTPError) as error:
            attempts.failed(error)
        else:
            return


def evict(cluster: Cluster, name: str, *, uid: str = "", namespace: str = "") -> None:
    """Evict a pod, as draining its node would; a PodDisruptionBudget that forbids it for now is waited for a minute.

    Args:
        cluster: Where.
        name: The pod's name.
        uid: Evict only the pod that has this uid.
        namespace: The pod's namespace; empty for that of the `Cluster`.

    Raises:
        NotFoundError: There is no such pod.
        ConflictError: The pod has another uid.
        AccessDeniedError: The permission is missing.
        ClusterError: A PodDisruptionBudget forbids it, or the API server fails.
    """
    address = locate(cluster, Reference("v1", "Pod", name, namespace))
    body = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name, "namespace": address.namespace},
        **({"deleteOptions": {"preconditions": {"uid": uid}}} if uid else {}),
    }
    operation = address.operation("evict", "create", subresource="eviction")
    send(cluster, Request(operation, "POST", address.path("eviction"), body=body))
