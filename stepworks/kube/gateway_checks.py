"""Whether a Gateway takes the requests of a model, and who else has a say in its traffic: asked before a change."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from stepworks.errors import AccessDeniedError, AlreadyExistsError, ConfigurationError, NotFoundError, ServingError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.discovery import is_served
from stepworks.kube.api.objects import find, list_objects
from stepworks.kube.api.references import Reference, Selection, located, reference_to
from stepworks.kube.builders import inference_graph
from stepworks.kube.builders.http_route import API_VERSION, KIND, VERSIONS_ANNOTATION
from stepworks.kube.kinds.gateways import Listener, Refused, addresses_of, choose_listener, is_programmed
from stepworks.kube.kinds.manifests import Manifest, annotations_of, conditions_of, labels_of


@dataclass(frozen=True)
class WayIn:
    """How clients reach a host through a Gateway.

    Attributes:
        listener: The listener that takes their requests.
        addresses: Where the Gateway takes them; empty where its controller does not say.
    """

    listener: Listener
    addresses: tuple[str, ...]


def find_way_in(cluster: Cluster, gateway: Reference, namespace: str, host: str) -> WayIn:
    """Find how the requests for a host come through a Gateway to a route of a namespace.

    Args:
        cluster: Where.
        gateway: The Gateway, with its namespace.
        namespace: The namespace of the route.
        host: The host.

    Raises:
        NotFoundError: The cluster has no Gateway API, or no such Gateway.
        ConfigurationError: The Gateway does not take routes of this namespace, or for this host.
        ServingError: The Gateway's controller has not set it up.
        AccessDeniedError: Gateways of that namespace may not be read.
        ClusterError: The API server fails or does not answer.
    """
    present = _present(cluster, gateway)
    chosen = choose_listener(present, namespace, _labels(cluster, present, namespace), host)
    name = f"{gateway.namespace}/{gateway.name}"
    if isinstance(chosen, Refused):
        raise ConfigurationError(
            f"The Gateway {name} takes no route of the namespace {namespace} for {host}",
            received="; ".join(chosen.reasons) or "no listener",
            expected="a listener of HTTP or HTTPS that admits the namespace, and the host",
            what_to_do="Give another host or Gateway; or let its owner admit the namespace: "
            "spec.listeners[].allowedRoutes.namespaces.",
        )
    if not is_programmed(present):
        condition = conditions_of(present).get("Programmed", {})
        raise ServingError(
            f"The Gateway {name} takes no requests",
            received=f"the condition Programmed is {condition.get('status', 'missing')}: "
            f"{condition.get('message') or 'no controller has set it up'}",
            expected="Programmed: True",
            what_to_do=f"See that the controller of its class {present['spec'].get('gatewayClassName')} runs: "
            f"{gateway.kubectl('describe')}",
        )
    return WayIn(chosen, tuple(addresses_of(present)))


def _present(cluster: Cluster, gateway: Reference) -> Manifest:
    name = f"{gateway.namespace}/{gateway.name}"
    if not is_served(cluster, API_VERSION, KIND):
        raise NotFoundError(
            "The cluster has no Gateway API",
            received=f"gateway: {name}, and a cluster that does not know {API_VERSION}",
            expected="the Gateway API's CRDs, and a controller that follows them",
            what_to_do="Install them with a Gateway; or leave gateway and host out, and let KServe split the traffic.",
        )
    present = find(cluster, gateway)
    if present is None:
        raise NotFoundError(
            f"There is no Gateway {name}",
            received=f"gateway: {name}",
            expected="the namespace and the name of a Gateway",
            what_to_do="Choose one of these: kubectl get gateways --all-namespaces",
        )
    return present


def _labels(cluster: Cluster, gateway: Manifest, namespace: str) -> Mapping[str, str] | None:
    """The labels of the namespace where a listener selects by them; None where they cannot be read."""
    ways = [(each.get("allowedRoutes") or {}).get("namespaces") or {} for each in gateway["spec"]["listeners"]]
    if not any(each.get("from") == "Selector" for each in ways):
        return None
    with contextlib.suppress(AccessDeniedError):  # then its controller decides, and says so at the route
        return labels_of(find(cluster, Reference("v1", "Namespace", namespace)) or {})
    return None


def refuse_shared_host(cluster: Cluster, route: Reference, gateway: Reference, host: str) -> None:
    """Refuse a host that another route of the namespace has: requests would go to whichever is older.

    Args:
        cluster: Where.
        route: The route of the model, with its namespace.
        gateway: The Gateway, with its namespace.
        host: The host.

    Raises:
        AlreadyExistsError: There is such a route.
        ClusterError: The API server refuses, fails or does not answer.
    """
    for other in list_objects(cluster, Selection(API_VERSION, KIND, namespace=route.namespace)):
        if other["metadata"]["name"] == route.name or not _attaches(other, gateway, route.namespace):
            continue
        hosts = other["spec"].get("hostnames") or []
        if host in hosts:
            reference = reference_to(other)
            raise AlreadyExistsError(
                f"The host {host} has a route already, the {reference}",
                received=f"its hosts {', '.join(hosts)}",
                expected=f"no other route of the Gateway {gateway.name} for that host: each model has its own",
                what_to_do=f"Give the model another host; or see whose it is: {reference.kubectl('describe')}",
            )


def _attaches(route: Manifest, gateway: Reference, namespace: str) -> bool:
    for parent in route["spec"].get("parentRefs") or []:
        named = replace(gateway, name=parent["name"], namespace=parent.get("namespace") or namespace)
        if parent.get("kind", gateway.kind) == gateway.kind and named == gateway:
            return True
    return False


def refuse_graph(cluster: Cluster, model: str) -> None:
    """Refuse a model whose clients come by an InferenceGraph: a roll-out by a route would end the versions behind it.

    Raises:
        AlreadyExistsError: There is one that a roll-out has made.
        ClusterError: The API server fails or does not answer.
    """
    graph = Reference(inference_graph.API_VERSION, inference_graph.KIND, model)
    _refuse_other_way(cluster, graph, inference_graph.ROUTES_ANNOTATION, "without gateway")


def refuse_route(cluster: Cluster, model: str) -> None:
    """Refuse a model whose clients come by a Gateway: a roll-out by an InferenceGraph would end the versions behind it.

    Raises:
        AlreadyExistsError: There is a route that a roll-out has made.
        ClusterError: The API server fails or does not answer.
    """
    _refuse_other_way(cluster, Reference(API_VERSION, KIND, model), VERSIONS_ANNOTATION, "with its gateway and host")


def _refuse_other_way(cluster: Cluster, way: Reference, annotation: str, how: str) -> None:
    if not is_served(cluster, way.api_version, way.kind):
        return
    present = None
    with contextlib.suppress(AccessDeniedError):  # who may not read it has not made it
        present = find(cluster, way)
    if present is None or annotation not in annotations_of(present):
        return
    there = located(cluster, way)
    raise AlreadyExistsError(
        f"The traffic of {way.name} is split in another way already",
        received=f"an {way}, whose clients would lose the versions that this roll-out ends",
        expected="one way for clients to come",
        what_to_do=f"Deploy {how}; or let those clients end, and delete it: {there.kubectl('delete')}",
    )
