"""The cluster that a step runs in, or that a kubeconfig names, through the official client."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from stepworks.errors import ConfigurationError
from stepworks.kube.api.clock import Clock, SystemClock
from stepworks.kube.kinds.names import check_name

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_DEFAULT_KUBECONFIG = "~/.kube/config"


@dataclass(frozen=True)
class Cluster:
    """A namespace of a cluster, and the way to it.

    Attributes:
        client: The official client's `ApiClient`: it knows the address, the certificates and the credentials.
        namespace: The namespace of every object that names no other.
        renew: Reads the credentials again; called once when the API server no longer takes them. Without it they
            stay what they are.
        clock: The time that retries and waits go by.
        give_up_at: The moment of that clock after which nothing is tried again, whatever a request allows.
        discovered: What discovery found so far: each resource by API version and kind.
    """

    client: Any
    namespace: str
    renew: Callable[[], None] | None = None
    clock: Clock = field(default_factory=SystemClock)
    give_up_at: float = math.inf
    discovered: dict[tuple[str, str], Any] = field(default_factory=dict, compare=False, repr=False)


def connect(*, kubeconfig: Path | None = None, context: str | None = None, namespace: str | None = None) -> Cluster:
    """Connect as the pod's ServiceAccount, or outside of a pod as a kubeconfig says.

    Nothing is sent yet: an API server that cannot be reached, or that no longer takes the credentials, is told by the
    first request.

    Args:
        kubeconfig: The kubeconfig; in a pod it takes precedence over the ServiceAccount. By default those that
            the environment variable KUBECONFIG names, or else ~/.kube/config.
        context: The context of the kubeconfig; by default its current one.
        namespace: The namespace; by default the pod's own or the context's, or else `default`.

    Raises:
        ConfigurationError: There is no usable ServiceAccount or kubeconfig, no such context, or the namespace's name
            is not valid.
    """
    from kubernetes import client, config
    from kubernetes.client import rest

    if namespace is not None:
        check_name("Namespace", namespace)
    in_pod = "KUBERNETES_SERVICE_HOST" in os.environ and kubeconfig is None and context is None
    files = str(kubeconfig or os.environ.get("KUBECONFIG") or Path(_DEFAULT_KUBECONFIG).expanduser())

    def load(configuration: Any) -> None:
        try:
            if in_pod:
                config.load_incluster_config(client_configuration=configuration)
            else:
                config.load_kube_config(files, context, client_configuration=configuration)
        # The client raises whatever a malformed file leads to: the errors of YAML, base64 and of missing keys.
        except Exception as error:
            raise _unusable(files, context, in_pod=in_pod, error=error) from error

    configuration = client.Configuration()
    load(configuration)
    # The client's own retries sleep unseen, obey no deadline, and repeat what must not be repeated.
    configuration.retries = False
    api_client = client.ApiClient(configuration)
    api_client.user_agent = f"stepworks/{version('stepworks')}"

    def renew() -> None:
        load(configuration)
        api_client.rest_client = rest.RESTClientObject(configuration)  # it holds the client's certificate

    return Cluster(api_client, namespace or _default_namespace(files, context, in_pod=in_pod), renew)


def _default_namespace(files: str, context: str | None, *, in_pod: bool) -> str:
    from kubernetes import config

    if in_pod:
        try:
            return (SERVICE_ACCOUNT / "namespace").read_text(encoding="utf-8").strip()
        except OSError as error:
            raise _unusable(files, context, in_pod=True, error=error) from error
    contexts, current = config.list_kube_config_contexts(files)
    chosen = next((each for each in contexts if each["name"] == context), current)
    return str(chosen["context"].get("namespace") or "default")


def _unusable(files: str, context: str | None, *, in_pod: bool, error: Exception) -> ConfigurationError:
    told = " ".join(f"{type(error).__name__}: {error}".split())
    if in_pod:
        return ConfigurationError(
            "The pod has no ServiceAccount to talk to the cluster with",
            received=told,
            expected=f"a token, ca.crt and namespace in {SERVICE_ACCOUNT}",
            what_to_do="Let the pod have its ServiceAccount's token: leave automountServiceAccountToken at true.",
        )
    paths = [Path(each).expanduser() for each in files.split(os.pathsep) if each]
    if not any(path.exists() for path in paths):
        return ConfigurationError(
            "There is no cluster to talk to",
            received=f"no file {' or '.join(map(str, paths))}",
            expected="a pod with a ServiceAccount, or a kubeconfig",
            what_to_do="Run in the cluster, or name a kubeconfig by the environment variable KUBECONFIG.",
        )
    if context is not None and "context" in told:
        return ConfigurationError(
            f"The kubeconfig has no context {context}",
            received=f"{files}: {told}",
            expected="one of those that `kubectl config get-contexts` lists",
            what_to_do="Correct the context's name, or name the kubeconfig that has it.",
        )
    is_told = type(error).__module__.startswith("kubernetes.")  # others say only where reading it stumbled
    return ConfigurationError(
        f"The kubeconfig {files} cannot be used",
        received=told if is_told else f"what cannot be read as a kubeconfig ({told})",
        expected="a file that kubectl can use too",
        what_to_do="See what `KUBECONFIG=FILE kubectl config view` says of it, and mend or replace the file.",
    )
