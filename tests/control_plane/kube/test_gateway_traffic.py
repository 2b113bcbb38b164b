"""The traffic of a model by an HTTPRoute, on a real API server; the controller of the Gateway is played.

Whether a proxy follows the weights is for tests/gateway.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable

import pytest

from stepworks.errors import (
    AlreadyExistsError,
    ConfigurationError,
    ConflictError,
    NotFoundError,
    ServingError,
    StepworksError,
)
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import apply, create, find, get, list_objects
from stepworks.kube.api.references import Selection
from stepworks.kube.builders.inference_graph import build_inference_graph
from stepworks.kube.builders.routes import Route, Routes
from stepworks.kube.gateway_traffic import GatewayTraffic
from stepworks.kube.graph_traffic import GraphTraffic
from stepworks.kube.kinds.manifests import Manifest
from testbed.bed import Bed
from tests.control_plane.kube.played_gateway import API, ROUTE, TRUE, PlayedGateway

pytestmark = pytest.mark.parametrize("kubeflow_bed", ["newer"], indirect=True)
HOST = "flights.example.com"


class Gateways(PlayedGateway):
    """A namespace with a Gateway and two versions' Services, and what plays the Gateway's controller."""

    def __init__(self, bed: Bed, cluster: Cluster) -> None:
        super().__init__(bed, cluster)
        self.said: list[str] = []
        for version in (1, 2):
            create(cluster, service(f"flights-v{version}-predictor"))

    def traffic(self, gateway: str = "", host: str = HOST, timeout: float = 20.0) -> GatewayTraffic:
        """The traffic of the model through a Gateway."""
        return GatewayTraffic(
            self.cluster,
            "flights",
            gateway=gateway or f"{self.cluster.namespace}/public",
            host=host,
            timeout=timeout,
            settle=0,
            say=self.said.append,
        )

    def route(self, version: int) -> Route:
        """A version as the traffic knows it."""
        address = f"http://flights-v{version}-predictor.{self.cluster.namespace}.svc.cluster.local"
        return Route(f"flights-v{version}", f"{address}/v2/models/flights-v{version}/infer")


def service(name: str) -> Manifest:
    """A Service as KServe makes it for a version."""
    spec = {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


@pytest.fixture
def gateways(kubeflow_bed: Bed, kubeflow_cluster: Cluster) -> Gateways:
    return Gateways(kubeflow_bed, kubeflow_cluster)


def weights(cluster: Cluster) -> list[int]:
    """The weights of the route."""
    (rule,) = get(cluster, ROUTE)["spec"]["rules"]
    return [each["weight"] for each in rule["backendRefs"]]


def test_the_traffic_goes_where_it_is_sent_and_a_person_can_say_yes(gateways: Gateways) -> None:
    stable, candidate = gateways.route(1), gateways.route(2)
    traffic = gateways.traffic()
    traffic.check()
    assert traffic.routes() is None
    assert traffic.url == f"http://{HOST}:8080"
    entrance = traffic.entrance("/v2/models/flights/infer")
    assert (entrance.url, entrance.host) == ("http://10.1.2.3:8080/v2/models/flights/infer", HOST)
    with gateways.controller(**TRUE):
        traffic.send(Routes(stable))
        for percent in (10, 50):
            traffic.send(Routes(stable, candidate, percent, trial=candidate.name))
            assert weights(gateways.cluster) == [100 - percent, percent]
        assert gateways.traffic().routes() == Routes(stable, candidate, 50, trial=candidate.name)
        assert not traffic.approved("flights-v2", 50)
        gateways.bed.kubectl(*shlex.split(traffic.approval("flights-v2", 50))[1:])
        traffic.send(Routes(stable, candidate, 100, trial=candidate.name))
        assert [traffic.approved("flights-v2", share) for share in (25, 50, 100)] == [True, True, False]
    traffic.end()
    assert traffic.routes() is None


def test_a_change_counts_when_its_own_generation_is_accepted(gateways: Gateways) -> None:
    with gateways.controller(**TRUE):
        gateways.traffic().send(Routes(gateways.route(1)))
    with pytest.raises(ServingError) as caught:  # nobody says anything of the next one
        gateways.traffic(timeout=1).send(Routes(gateways.route(1), gateways.route(2), 10))
    assert caught.value.received == "its controller has not seen the new spec, for 1 s"
    assert weights(gateways.cluster) == [100], "the traffic goes on as before"


@pytest.mark.parametrize(
    ("conditions", "told", "advice"),
    [
        (
            {**TRUE, "Accepted": ("False", "NotAllowedByListeners")},
            "Accepted is False (NotAllowedByListeners): NotAllowedByListeners, it says, for 5 s",
            "allowedRoutes.namespaces",
        ),
        (
            {**TRUE, "ResolvedRefs": ("False", "BackendNotFound")},
            "ResolvedRefs is False (BackendNotFound): BackendNotFound, it says, for 5 s",
            "kubectl get services",
        ),
    ],
)
def test_a_route_that_is_not_accepted_is_taken_back(
    gateways: Gateways, conditions: dict[str, tuple[str, str]], told: str, advice: str
) -> None:
    with gateways.controller(**conditions), pytest.raises(ServingError) as caught:
        gateways.traffic(timeout=5).send(Routes(gateways.route(1)))
    assert caught.value.received == told
    assert advice in caught.value.what_to_do
    assert find(gateways.cluster, ROUTE) is None


def test_without_a_controller_that_is_told(gateways: Gateways) -> None:
    with pytest.raises(ServingError, match="does not accept") as caught:
        gateways.traffic(timeout=1).send(Routes(gateways.route(1)))
    assert "no controller has said anything of it" in caught.value.received
    assert find(gateways.cluster, ROUTE) is None


def make_plain_route(gateways: Gateways, name: str, host: str) -> None:
    """A route that somebody else has made."""
    spec = {"parentRefs": [{"name": "public"}], "hostnames": [host]}
    create(gateways.cluster, {"apiVersion": API, "kind": "HTTPRoute", "metadata": {"name": name}, "spec": spec})


def serve_by_a_graph(gateways: Gateways) -> None:
    """What a roll-out without a Gateway has left."""
    apply(gateways.cluster, build_inference_graph(Routes(gateways.route(1)), name="flights", mode="Standard"))


REFUSALS: list[tuple[Callable[[Gateways], object], dict[str, str], type[StepworksError], str]] = [
    (lambda _: None, {"gateway": "elsewhere/none"}, NotFoundError, "There is no Gateway elsewhere/none"),
    (
        lambda g: g.make_gateway("closed", allowedRoutes={"kinds": [{"kind": "GRPCRoute"}]}),
        {"gateway": "closed"},
        ConfigurationError,
        "listener web: it takes no HTTPRoutes",
    ),
    (
        lambda g: g.make_gateway(
            "picky",
            allowedRoutes={"namespaces": {"from": "Selector", "selector": {"matchLabels": {"team": "web"}}}},
        ),
        {"gateway": "picky"},
        ConfigurationError,
        "its selector of namespaces does not select",
    ),
    (lambda g: g.make_gateway("idle", programmed=False), {"gateway": "idle"}, ServingError, "takes no requests"),
    (
        lambda g: g.make_gateway("other", hostname="*.example.org"),
        {"gateway": "other"},
        ConfigurationError,
        "its host is *.example.org",
    ),
    (lambda g: make_plain_route(g, "site", HOST), {}, AlreadyExistsError, "HTTPRoute site"),
    (lambda g: make_plain_route(g, "flights", "a.example.com"), {}, ConfigurationError, "was not made by Stepworks"),
    (serve_by_a_graph, {}, AlreadyExistsError, "split in another way already"),
]


@pytest.mark.parametrize(("before", "given", "error", "told"), REFUSALS)
def test_what_cannot_work_is_refused_before_anything_is_changed(
    gateways: Gateways,
    before: Callable[[Gateways], object],
    given: dict[str, str],
    error: type[StepworksError],
    told: str,
) -> None:
    before(gateways)
    routes = {each["metadata"]["name"] for each in list_objects(gateways.cluster, Selection(API, "HTTPRoute"))}
    gateway = given.get("gateway", "public")
    with pytest.raises(error) as caught:
        gateways.traffic(gateway if "/" in gateway else f"{gateways.cluster.namespace}/{gateway}").check()
    assert told in str(caught.value)
    assert {each["metadata"]["name"] for each in list_objects(gateways.cluster, Selection(API, "HTTPRoute"))} == routes


def test_hosts_and_gateways_of_others_are_no_matter(gateways: Gateways) -> None:
    make_plain_route(gateways, "site", "www.example.com")
    gateways.make_gateway("second")
    gateways.traffic().check()
    make_plain_route(gateways, "same-host", HOST)
    gateways.traffic(f"{gateways.cluster.namespace}/second").check()


def test_clients_keep_their_host_and_their_gateway(gateways: Gateways) -> None:
    gateways.make_gateway("second")
    with gateways.controller(**TRUE):
        gateways.traffic().send(Routes(gateways.route(1)))
    gateways.traffic().check()
    for moved in (gateways.traffic(host="a.example.com"), gateways.traffic(f"{gateways.cluster.namespace}/second")):
        with pytest.raises(AlreadyExistsError, match="come by another host or Gateway"):
            moved.check()


def test_a_version_without_a_service_is_refused(gateways: Gateways) -> None:
    traffic = gateways.traffic()
    for version, url in enumerate(
        (f"http://none.{gateways.cluster.namespace}.svc", "http://flights-v1-predictor.elsewhere.svc", "http://a.b"), 1
    ):
        with pytest.raises(ConfigurationError, match="has no Service"):
            traffic.send(Routes(Route(f"flights-v{version}", url)))
    assert find(gateways.cluster, ROUTE) is None


def test_traffic_that_somebody_else_has_changed_is_left_as_it_is(gateways: Gateways) -> None:
    with gateways.controller(**TRUE):
        traffic = gateways.traffic()
        traffic.send(Routes(gateways.route(1), gateways.route(2), 10))
        gateways.traffic().send(Routes(gateways.route(1), gateways.route(2), 50))
        for change in (lambda: traffic.send(Routes(gateways.route(2))), traffic.end):
            with pytest.raises(ConflictError, match="Somebody else has changed the traffic of flights"):
                change()
        assert weights(gateways.cluster) == [50, 50]


def test_a_graph_is_refused_where_clients_come_by_a_gateway(gateways: Gateways) -> None:
    graph = GraphTraffic(gateways.cluster, "flights", mode="Standard")
    graph.check()
    with gateways.controller(**TRUE):
        gateways.traffic().send(Routes(gateways.route(1)))
    with pytest.raises(AlreadyExistsError, match="split in another way already"):
        graph.check()
