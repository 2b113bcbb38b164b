"""Naming objects: one by its name, many by a selector, and where the API server has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from stepworks.errors import ConfigurationError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.commands import kubectl
from stepworks.kube.api.discovery import Resource, discover
from stepworks.kube.api.refusals import Operation
from stepworks.kube.kinds.names import check_name


@dataclass(frozen=True)
class Reference:
    """Names one object.

    Attributes:
        api_version: `batch/v1`.
        kind: `Job`.
        name: Its name.
        namespace: Its namespace; empty for that of the `Cluster`, and for kinds that have none.
    """

    api_version: str
    kind: str
    name: str
    namespace: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"

    def kubectl(self, verb: str) -> str:
        """A command about the object: `kubectl -n team describe job train`."""
        return kubectl(verb, self.kind.lower(), self.name, namespace=self.namespace)


@dataclass(frozen=True)
class Selection:
    """Names the objects of a kind that selectors choose; without selectors all of them.

    Attributes:
        api_version: `v1`.
        kind: `Pod`.
        labels: A label selector, `app=train,tier!=web`.
        fields: A field selector, `metadata.name=train`.
        namespace: The namespace; empty for that of the `Cluster`, and for kinds that have none.
        everywhere: Whether those of all namespaces are meant.
    """

    api_version: str
    kind: str
    labels: str = ""
    fields: str = ""
    namespace: str = ""
    everywhere: bool = False

    @property
    def query(self) -> list[tuple[str, str]]:
        """The selectors as parameters of a request."""
        return [
            (key, value) for key, value in (("labelSelector", self.labels), ("fieldSelector", self.fields)) if value
        ]


@dataclass(frozen=True)
class Address:
    """Where the API server has an object, or all objects of a kind.

    Attributes:
        resource: The kind, as it is served.
        namespace: The namespace; empty if the kind has none, and for all of them.
        name: The object's name; empty for all of them.
    """

    resource: Resource
    namespace: str
    name: str

    def path(self, subresource: str = "") -> str:
        """The path on the server."""
        return self.resource.path(self.namespace, self.name, subresource)

    def operation(self, verb: str, *rights: str, subresource: str = "") -> Operation:
        """What is done to it, for errors.

        Args:
            verb: What is done.
            rights: The verbs that a Role has to grant; without any, the verb itself.
            subresource: The part of the object that it is done to, `log`.
        """
        return Operation(
            verb,
            self.resource.kind,
            self.name,
            self.namespace,
            self.resource.group,
            f"{self.resource.plural}/{subresource}" if subresource else self.resource.plural,
            rights or (verb,),
        )


def reference_to(manifest: Mapping[str, Any]) -> Reference:
    """The reference of an object.

    Raises:
        ConfigurationError: It has no apiVersion, kind or name.
    """
    metadata = manifest.get("metadata") or {}
    named = {"apiVersion": manifest.get("apiVersion"), "kind": manifest.get("kind"), "name": metadata.get("name")}
    if not all(isinstance(each, str) and each for each in named.values()):
        raise ConfigurationError(
            "The object cannot be named",
            received=", ".join(f"{key}: {value!r}" for key, value in named.items()),
            expected="apiVersion, kind and metadata.name",
            what_to_do="Add what is missing.",
        )
    return Reference(manifest["apiVersion"], manifest["kind"], metadata["name"], metadata.get("namespace") or "")


def locate(cluster: Cluster, named: Reference | Selection) -> Address:
    """Find where an object is, or all objects of a kind; the names are checked before anything is sent.

    Raises:
        ConfigurationError: A name is illegal or too long.
        NotFoundError: The cluster does not serve the kind.
        ClusterError: The API server does not answer.
    """
    namespace = check_name("Namespace", named.namespace or cluster.namespace)
    name = check_name(named.kind, named.name) if isinstance(named, Reference) else ""
    resource = discover(cluster, named.api_version, named.kind)
    everywhere = isinstance(named, Selection) and named.everywhere
    return Address(resource, namespace if resource.namespaced and not everywhere else "", name)


def located(cluster: Cluster, reference: Reference) -> Reference:
    """A reference with the namespace that its object is in; without one, if the kind has none.

    Raises:
        ConfigurationError: A name is illegal or too long.
        NotFoundError: The cluster does not serve the kind.
        ClusterError: The API server does not answer.
    """
    return replace(reference, namespace=locate(cluster, reference).namespace)
