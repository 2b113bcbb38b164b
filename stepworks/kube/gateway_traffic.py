"""Sending the traffic of a model to its versions by the weights of an HTTPRoute, on whatever Gateway it attaches to."""

from __future__ import annotations

from collections.abc import Callable

from stepworks.errors import (
    AccessDeniedError,
    AlreadyExistsError,
    ConfigurationError,
    ServingError,
    StepworksError,
    WaitTimeoutError,
)
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import apply, delete, find
from stepworks.kube.api.references import Reference
from stepworks.kube.builders.http_route import API_VERSION, KIND, backend_of, build_http_route, read_http_route
from stepworks.kube.builders.routes import Routes
from stepworks.kube.gateway_checks import WayIn, find_way_in, refuse_graph, refuse_shared_host
from stepworks.kube.kinds.gateways import RouteInPlace
from stepworks.kube.kinds.judgement import Pending
from stepworks.kube.kinds.manifests import Manifest
from stepworks.kube.kinds.rules import GONE
from stepworks.kube.model_traffic import Entrance, approval_command, is_approved, refuse_another_hand, told_routes
from stepworks.kube.runs.adoption import DELETION_SECONDS
from stepworks.kube.waiting.wait import wait

ACCEPTED_SECONDS = 60.0
"""How long the Gateway's controller may take to accept a route."""
SETTLED_SECONDS = 30.0
"""How long proxies may take to follow a route that was accepted, and versions to answer what they were sent before.
Nothing in the Gateway API says when they have."""

_ADVICE = {
    "NotAllowedByListeners": "Let a listener of the Gateway admit routes of this namespace: allowedRoutes.namespaces.",
    "NoMatchingListenerHostname": "Give a host that a listener of the Gateway has.",
    "BackendNotFound": "See that the Services of the versions are there: kubectl get services.",
    "RefNotPermitted": "Serve the versions in the namespace of the route.",
}


class GatewayTraffic:
    """The traffic of one model: an HTTPRoute of its name, whose weights split it.

    Args:
        cluster: Where.
        model: The model's name, which is the route's.
        gateway: The Gateway through which clients come, as `NAMESPACE/NAME`.
        host: The host by which they ask for the model.
        timeout: How long the Gateway's controller may take to accept a change, in seconds.
        settle: How long proxies may take to follow it, in seconds.
        say: Is told each line of progress.
    """

    def __init__(
        self,
        cluster: Cluster,
        model: str,
        *,
        gateway: str,
        host: str,
        timeout: float = ACCEPTED_SECONDS,
        settle: float = SETTLED_SECONDS,
        say: Callable[[str], None] = print,
    ) -> None:
        namespace, _, name = gateway.partition("/")
        self._cluster = cluster
        self._host = host
        self._timeout = timeout
        self._settle = settle
        self._say = say
        self._route = Reference(API_VERSION, KIND, model, cluster.namespace)
        self._gateway = Reference(API_VERSION, "Gateway", name, namespace)
        self._sent: Routes | None = None

    @property
    def url(self) -> str:
        """The address at which clients reach the model: that of its host.

        Raises:
            StepworksError: As of `check`, of the Gateway.
        """
        return self._way_in().listener.url(self._host)

    def entrance(self, path: str) -> Entrance:
        """Where clients send inference requests: the host, at the Gateway's own address where it has one.

        Raises:
            StepworksError: As of `check`, of the Gateway.
        """
        way_in = self._way_in()
        if way_in.listener.scheme == "http" and way_in.addresses:  # whether the host's name is known here is not said
            return Entrance(f"{way_in.listener.url(way_in.addresses[0])}{path}", self._host)
        return Entrance(f"{way_in.listener.url(self._host)}{path}")

    def check(self) -> None:
        """Refuse what cannot work, before anything is changed.

        Raises:
            NotFoundError: The cluster has no Gateway API, or no such Gateway.
            ConfigurationError: The Gateway does not take routes of this namespace or for this host; or somebody else
                has made a route of the model's name.
            ServingError: The Gateway's controller has not set it up.
            AlreadyExistsError: Another route has the host, clients of the model come by another host or Gateway, or by
                an InferenceGraph.
            AccessDeniedError: A permission is missing.
            ClusterError: The API server fails or does not answer.
        """
        self._way_in()
        self._refuse_moving()
        refuse_shared_host(self._cluster, self._route, self._gateway, self._host)
        refuse_graph(self._cluster, self._route.name)

    def routes(self) -> Routes | None:
        """Where the traffic goes; None where it goes nowhere yet.

        Raises:
            ConfigurationError: Something else has made a route of the model's name.
            ClusterError: The API server refuses, fails or does not answer.
        """
        present = find(self._cluster, self._route)
        return None if present is None else read_http_route(present)

    def approved(self, route: str, percent: int) -> bool:
        """Whether a person has said at the route that a version may get this share of the traffic, or more.

        Raises:
            ClusterError: The API server refuses, fails or does not answer.
        """
        return is_approved(find(self._cluster, self._route), route, percent)

    def approval(self, route: str, percent: int) -> str:
        """The command by which a person says so."""
        return approval_command(self._route, route, percent)

    def send(self, routes: Routes) -> None:
        """Send the traffic elsewhere, and return when the Gateway's controller has accepted that.

        Args:
            routes: Where it goes from now on.

        Raises:
            ConflictError: Somebody else has sent it elsewhere since the last time; nothing was changed.
            ConfigurationError: It cannot be split like this; a version has no Service; or something else has made a
                route of the model's name.
            AdmissionError: The cluster does not take the route.
            ServingError: The Gateway's controller does not accept it; it says why. The traffic goes on as before.
            ClusterError: The API server refuses, fails or does not answer.
        """
        before = self.routes()
        refuse_another_hand(self._route.name, before, self._sent)
        wanted = self._built(routes)
        self._require_services(routes)
        apply(self._cluster, wanted)
        try:
            self._wait_until_in_place(wanted)
        except (ServingError, AccessDeniedError):
            self._take_back(before)
            raise
        self._sent = read_http_route(wanted)
        self._say(told_routes(routes))

    def drain(self) -> None:
        """Return when the Gateway's proxies had time to follow the route, and to answer what they sent on before."""
        self._cluster.clock.sleep(self._settle)

    def end(self) -> None:
        """Delete the route: the model has no version any more that may answer.

        Raises:
            ConflictError: Somebody else has sent the traffic elsewhere; the route is left as it is.
            ClusterError: The API server refuses, fails or does not answer.
        """
        refuse_another_hand(self._route.name, self.routes(), self._sent)
        self._sent = None
        if delete(self._cluster, self._route):
            wait(self._cluster, self._route, until=GONE, timeout=DELETION_SECONDS)

    def _built(self, routes: Routes) -> Manifest:
        route = build_http_route(routes, name=self._route.name, gateway=self._gateway, host=self._host)
        route["metadata"]["namespace"] = self._route.namespace
        return route

    def _wait_until_in_place(self, wanted: Manifest) -> None:
        rule = RouteInPlace(self._gateway.namespace, self._gateway.name)
        try:
            wait(self._cluster, self._route, until=rule, timeout=self._timeout)
        except WaitTimeoutError as error:
            present = find(self._cluster, self._route)
            judged = rule.judge(present or wanted)
            told = judged.reason if isinstance(judged, Pending) else str(error)
            advice = next((advice for reason, advice in _ADVICE.items() if f"({reason})" in told), "")
            raise ServingError(
                f"The Gateway {self._gateway.namespace}/{self._gateway.name} does not accept the {self._route}",
                received=f"{told}, for {self._timeout:g} s",
                expected="the conditions Accepted and ResolvedRefs, for what the route says now",
                what_to_do=f"{advice or 'See that the controller of its class runs.'} The traffic goes on as before.",
            ) from error

    def _take_back(self, before: Routes | None) -> None:
        """Restore a route whose change was not accepted; what fails is said, since more is to be raised."""
        try:
            if before is None:
                delete(self._cluster, self._route)
            else:
                apply(self._cluster, self._built(before))
        except StepworksError as trouble:
            self._say(f"The {self._route} could not be taken back to what it was.\n{trouble}")

    def _require_services(self, routes: Routes) -> None:
        for route, _ in routes.asked:
            backend = backend_of(route)
            present = None
            if backend.namespace == self._route.namespace:
                present = find(self._cluster, Reference("v1", "Service", backend.service, backend.namespace))
            ports = [each["port"] for each in present["spec"].get("ports") or []] if present else []
            if backend.port not in ports:
                raise ConfigurationError(
                    f"The version {route.name} has no Service that the {self._route} could send requests to",
                    received=f"{route.url}, and a Service {backend.service} with the ports {ports}"
                    if present
                    else f"{route.url}, and no Service {backend.service} in the namespace {self._route.namespace}",
                    expected="a Service of the version in the namespace of the route, with the port of its address",
                    what_to_do="Look at the version's InferenceService: kubectl describe inferenceservice.",
                )

    def _refuse_moving(self) -> None:
        """Refuse to take a host from its clients, who would be the first to notice."""
        present = find(self._cluster, self._route)
        if present is None:
            return
        wanted = self._built(read_http_route(present))["spec"]
        spec = {name: present["spec"].get(name) for name in ("hostnames", "parentRefs")}
        if all(spec[name] == wanted[name] for name in spec):
            return
        gateways = ", ".join(f"{each.get('namespace', '')}/{each['name']}" for each in spec["parentRefs"] or [])
        raise AlreadyExistsError(
            f"Clients of {self._route.name} come by another host or Gateway",
            received=f"the {self._route} with the host {', '.join(spec['hostnames'] or [])} of the Gateway {gateways}",
            expected=f"{self._host} of the Gateway {self._gateway.namespace}/{self._gateway.name}",
            what_to_do="Name those in gateway and host; or, once no client asks there any more, delete the route, and "
            f"it is made anew: {self._route.kubectl('delete')}",
        )

    def _way_in(self) -> WayIn:
        return find_way_in(self._cluster, self._gateway, self._route.namespace, self._host)
