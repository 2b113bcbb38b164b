"""The cluster that a step runs in, or that the kubeconfig names, through the official client."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stepworks.errors import ConfigurationError, ResourceError

_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(frozen=True)
class Cluster:
    """A namespace of a cluster.

    Attributes:
        client: The official client's `ApiClient`.
        namespace: The namespace.
    """

    client: Any
    namespace: str


def connect() -> Cluster:
    """Connect as the pod's ServiceAccount, or outside of a cluster as the kubeconfig says.

    Raises:
        ConfigurationError: This is no pod, and there is no usable kubeconfig.
    """
    from kubernetes import client, config

    configuration = client.Configuration()
    try:
        if "KUBERNETES_SERVICE_HOST" in os.environ:
            config.load_incluster_config(client_configuration=configuration)
            namespace = _NAMESPACE_FILE.read_text(encoding="utf-8").strip()
        else:
            config.load_kube_config(client_configuration=configuration)
            _, active = config.list_kube_config_contexts()
            namespace = active["context"].get("namespace", "default")
    except (config.ConfigException, OSError) as error:
        raise ConfigurationError(
            "There is no cluster to talk to",
            received=f"{type(error).__name__}: {error}",
            expected="a pod with a ServiceAccount, or a kubeconfig",
            what_to_do="Run in the cluster, or name a kubeconfig by the environment variable KUBECONFIG.",
        ) from error
    return Cluster(client.ApiClient(configuration), namespace)


@contextmanager
def explained(verb: str, resource: str, namespace: str) -> Iterator[None]:
    """Tell what the API server refused, by the verb and the resource that a Role would have to name.

    Raises:
        ResourceError: The API server refuses, or does not answer.
    """
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    doing = f"{verb} {resource} in the namespace {namespace}"
    try:
        yield
    except ApiException as error:
        forbidden = error.status == 403
        raise ResourceError(
            f"Kubernetes refused to {doing}",
            received=f"{error.status} {error.reason}: {_message(error.body)}",
            expected=f"a ServiceAccount that may {verb} {resource}" if forbidden else "",
            what_to_do=(
                f"Give the ServiceAccount of the run a Role with the verb {verb} on the resource {resource}."
                if forbidden
                else "Read what the API server answered."
            ),
        ) from error
    except HTTPError as error:
        raise ResourceError(
            f"The Kubernetes API server did not answer when asked to {doing}",
            received=f"{type(error).__name__}: {error}",
            expected="an answer",
            what_to_do="Try again; if it stays, look at the network policies of the namespace.",
        ) from error


def _message(body: Any) -> str:
    """What the API server said: the message of its Status, or the beginning of whatever it answered."""
    try:
        return str(json.loads(body)["message"])
    except (ValueError, TypeError, KeyError):
        return str(body or "nothing more")[:500]
