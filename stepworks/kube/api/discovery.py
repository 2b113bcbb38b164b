"""Which resource a kind is, as the API server says."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from stepworks.errors import ClusterError, NotFoundError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.refusals import Operation
from stepworks.kube.api.requests import Request, send
from stepworks.kube.kinds.manifests import group_of
from stepworks.kube.kinds.table import PROVIDERS


@dataclass(frozen=True)
class Resource:
    """A kind as the API server serves it.

    Attributes:
        api_version: `batch/v1`.
        kind: `Job`.
        plural: `jobs`.
        namespaced: Whether its objects live in namespaces.
    """

    api_version: str
    kind: str
    plural: str
    namespaced: bool

    @property
    def group(self) -> str:
        """The API group; empty for the core's."""
        return group_of(self.api_version)

    def path(self, namespace: str, name: str = "", subresource: str = "") -> str:
        """The path of an object, or of all of them; without a namespace, of those of all namespaces."""
        parts = [group_version_path(self.api_version)]
        parts += ["namespaces", namespace] if self.namespaced and namespace else []
        return "/".join([*parts, self.plural, *(each for each in (name, subresource) if each)])


def group_version_path(api_version: str) -> str:
    """The path under which a group version is served."""
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


def discover(cluster: Cluster, api_version: str, kind: str) -> Resource:
    """Find the resource of a kind; the API server is asked once for each group version.

    Raises:
        NotFoundError: The cluster does not serve that kind; it names the nearest that it serves.
        ClusterError: The API server does not answer.
    """
    if (api_version, kind) not in cluster.discovered:
        operation = Operation("look up", "API version", api_version)
        try:
            answer = send(cluster, Request(operation, "GET", group_version_path(api_version)))
        except NotFoundError:
            answer = {"resources": []}
        for each in answer["resources"]:
            if "/" not in each["name"]:
                found = Resource(api_version, each["kind"], each["name"], each["namespaced"])
                cluster.discovered[api_version, each["kind"]] = found
    if (api_version, kind) not in cluster.discovered:
        raise _unknown(cluster, api_version, kind)
    resource = cluster.discovered[api_version, kind]
    assert isinstance(resource, Resource)
    return resource


def is_served(cluster: Cluster, api_version: str, kind: str) -> bool:
    """Whether a cluster knows a kind. The API server is asked for its groups first, which is one short answer.

    Raises:
        ClusterError: The API server fails or does not answer.
    """
    unseen = "/" in api_version and (api_version, kind) not in cluster.discovered
    if unseen and api_version not in served_versions(cluster):
        return False
    try:
        discover(cluster, api_version, kind)
    except NotFoundError:
        return False
    return True


def served_versions(cluster: Cluster) -> list[str]:
    """The versions of API groups that a cluster serves, `batch/v1`, in its groups' preferred order.

    Raises:
        ClusterError: The API server fails or does not answer.
    """
    groups = send(cluster, Request(Operation("list", "APIGroup"), "GET", "/apis"))["groups"]
    return [version["groupVersion"] for group in groups for version in group["versions"]]


def _unknown(cluster: Cluster, api_version: str, kind: str) -> NotFoundError:
    served = sorted(set(_served(cluster)))
    group = group_of(api_version)
    elsewhere = [f"{kind} of {version}" for version, each in served if each == kind]
    here = [each for version, each in served if version == api_version]
    near = difflib.get_close_matches(kind, here or [each for _, each in served], n=1, cutoff=0.6 if here else 0.9)
    near_told = [f"{each} of {version}" for version, each in served if each in near]
    if elsewhere or (near and here):
        what_to_do = "Use what the cluster serves."
    elif group in PROVIDERS:
        what_to_do = f"Have {PROVIDERS[group]} installed in the cluster: its CRDs, and its controller."
    else:
        what_to_do = "Correct the apiVersion and the kind, or have the CRD and its controller installed."
    return NotFoundError(
        f"The cluster does not know the kind {kind} of {api_version}",
        received=f"{kind} of {api_version}",
        expected=", ".join(elsewhere or near_told[:3]) or "a kind that the cluster serves",
        what_to_do=what_to_do,
    )


def _served(cluster: Cluster) -> Iterator[tuple[str, str]]:
    """Every API version and kind that the cluster serves, in its groups' preferred order."""
    for version in ["v1", *served_versions(cluster)]:
        for each in _resources(cluster, version):
            yield version, each["kind"]


def _resources(cluster: Cluster, api_version: str) -> list[dict[str, Any]]:
    try:
        request = Request(Operation("look up", "API version", api_version), "GET", group_version_path(api_version))
        return [each for each in send(cluster, request)["resources"] if "/" not in each["name"]]
    except (NotFoundError, ClusterError):  # a group that was taken away meanwhile, or whose own server is down
        return []
