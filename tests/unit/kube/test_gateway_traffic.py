"""What the traffic by an HTTPRoute asks of the API server, and what it does when that refuses."""

from __future__ import annotations

from typing import Any

import pytest

from stepworks.errors import AccessDeniedError, AlreadyExistsError, NotFoundError, ServingError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.references import Reference
from stepworks.kube.builders.http_route import build_http_route
from stepworks.kube.builders.inference_graph import build_inference_graph
from stepworks.kube.builders.routes import Route, Routes
from stepworks.kube.gateway_traffic import SETTLED_SECONDS, GatewayTraffic
from tests.unit.kube import api_handler
from tests.unit.kube.api_handler import Manifest, forbidden
from tests.unit.kube.api_server import ApiServer
from tests.unit.kube.conftest import JumpingClock

API = "gateway.networking.k8s.io/v1"
HOST = "flights.example.com"
STABLE, CANDIDATE = (Route(f"flights-v{n}", f"http://flights-v{n}.team.svc/v2/models/flights-v{n}/infer") for n in "12")


@pytest.fixture(autouse=True)
def kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a cluster with KServe and the Gateway API serves."""
    served = {
        "v1": {**api_handler.KINDS["v1"], "Service": "services", "Namespace": "namespaces"},
        API: {"Gateway": "gateways", "HTTPRoute": "httproutes"},
        "serving.kserve.io/v1alpha1": {"InferenceGraph": "inferencegraphs"},
    }
    for version, each in served.items():
        monkeypatch.setitem(api_handler.KINDS, version, each)


def put_gateway(server: ApiServer, programmed: str = "True", **listener: Any) -> None:
    """The Gateway, as its controller has set it up."""
    status = {
        "addresses": [{"value": "10.1.2.3"}],
        "conditions": [{"type": "Programmed", "status": programmed, "message": "no address yet"}],
    }
    listeners = [{"name": "web", "protocol": "HTTP", "port": 80, **listener}]
    server.put(
        {
            "apiVersion": API,
            "kind": "Gateway",
            "metadata": {"name": "public", "namespace": "team"},
            "spec": {"gatewayClassName": "played", "listeners": listeners},
            "status": status,
        },
        "gateways",
    )


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def traffic(server: ApiServer, cluster: Cluster, said: list[str]) -> GatewayTraffic:
    put_gateway(server)
    for version in (1, 2):
        metadata = {"name": f"flights-v{version}", "namespace": "team"}
        service = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [{"port": 80}]}}
        server.put(service, "services")
    return GatewayTraffic(cluster, "flights", gateway="team/public", host=HOST, timeout=0, say=said.append)


def route_of(server: ApiServer) -> Manifest:
    return server.objects["httproutes", "flights"]


def send_first(server: ApiServer, traffic: GatewayTraffic) -> None:
    """Send the traffic to the first version, to a controller that accepts it and all that follows."""
    gateway = Reference(API, "Gateway", "public", "team")
    route = build_http_route(Routes(STABLE), name="flights", gateway=gateway, host=HOST)
    conditions = [{"type": name, "status": "True"} for name in ("Accepted", "ResolvedRefs")]
    parent = {"parentRef": {"name": "public", "namespace": "team"}, "conditions": conditions}
    server.put({**route, "status": {"parents": [parent]}}, "httproutes")
    traffic.send(Routes(STABLE))


def weights(server: ApiServer) -> list[int]:
    return [each["weight"] for each in route_of(server)["spec"]["rules"][0]["backendRefs"]]


def test_the_traffic_is_sent_and_a_version_ends_when_proxies_had_time(
    server: ApiServer, traffic: GatewayTraffic, clock: JumpingClock, said: list[str]
) -> None:
    traffic.check()
    send_first(server, traffic)
    assert said == ["flights-v1 gets 100 % of the traffic."]
    traffic.send(Routes(STABLE, CANDIDATE, 10, CANDIDATE.name))
    assert said[1:] == ["flights-v1 gets 90 % of the traffic; flights-v2 gets 10 % of the traffic."]
    assert weights(server) == [90, 10]
    assert traffic.routes() == Routes(STABLE, CANDIDATE, 10, CANDIDATE.name)
    before = list(clock.slept)
    traffic.drain()
    assert clock.slept == [*before, SETTLED_SECONDS]
    assert (traffic.url, traffic.entrance("/infer").url) == (f"http://{HOST}", "http://10.1.2.3/infer")


def test_a_first_route_that_nobody_accepts_is_deleted(server: ApiServer, traffic: GatewayTraffic) -> None:
    with pytest.raises(ServingError) as caught:
        traffic.send(Routes(STABLE))
    assert "no controller has said anything" in caught.value.received
    assert ("httproutes", "flights") not in server.objects


def test_who_may_not_watch_the_route_leaves_it_as_it_was(server: ApiServer, traffic: GatewayTraffic) -> None:
    send_first(server, traffic)
    server.denied.add(("list", "httproutes"))
    with pytest.raises(AccessDeniedError):
        traffic.send(Routes(STABLE, CANDIDATE, 10))
    assert weights(server) == [100]


def test_what_cannot_be_taken_back_is_said(server: ApiServer, traffic: GatewayTraffic, said: list[str]) -> None:
    server.fail("delete", forbidden("delete", "httproutes", "gateway.networking.k8s.io"))
    with pytest.raises(ServingError, match="does not accept"):
        traffic.send(Routes(STABLE))
    assert "could not be taken back" in said[0]


def test_what_may_not_be_read_is_left_to_the_controller(server: ApiServer, traffic: GatewayTraffic) -> None:
    selector = {"from": "Selector", "selector": {"matchLabels": {"tier": "ml"}}}
    put_gateway(server, allowedRoutes={"namespaces": selector})
    server.denied |= {("get", "namespaces"), ("get", "inferencegraphs")}
    traffic.check()


def test_a_model_that_a_graph_splits_is_refused(server: ApiServer, traffic: GatewayTraffic) -> None:
    server.put(build_inference_graph(Routes(STABLE), name="flights"), "inferencegraphs")
    with pytest.raises(AlreadyExistsError, match="split in another way already") as caught:
        traffic.check()
    assert "kubectl -n team delete inferencegraph flights" in caught.value.what_to_do


def test_another_route_of_the_host_is_refused(server: ApiServer, traffic: GatewayTraffic) -> None:
    metadata = {"name": "site", "namespace": "team"}
    spec = {"parentRefs": [{"name": "public"}], "hostnames": ["www.example.com", HOST]}
    server.put({"apiVersion": API, "kind": "HTTPRoute", "metadata": metadata, "spec": spec}, "httproutes")
    with pytest.raises(AlreadyExistsError, match=r"The host .* has a route already, the HTTPRoute site"):
        traffic.check()


def test_clients_keep_their_host(server: ApiServer, traffic: GatewayTraffic, cluster: Cluster) -> None:
    send_first(server, traffic)
    moved = GatewayTraffic(cluster, "flights", gateway="team/public", host="a.example.com")
    with pytest.raises(AlreadyExistsError, match="come by another host or Gateway"):
        moved.check()


def test_a_gateway_that_is_not_set_up_is_refused(server: ApiServer, traffic: GatewayTraffic) -> None:
    put_gateway(server, "False")
    with pytest.raises(ServingError) as caught:
        traffic.check()
    assert caught.value.received == "the condition Programmed is False: no address yet"
    server.remove("gateways", "public")
    with pytest.raises(NotFoundError, match="There is no Gateway team/public"):
        traffic.check()


def test_clients_of_https_ask_by_the_name(server: ApiServer, traffic: GatewayTraffic) -> None:
    put_gateway(server, protocol="HTTPS", port=8443)
    entrance = traffic.entrance("/infer")
    assert (entrance.url, entrance.host) == (f"https://{HOST}:8443/infer", "")


def test_a_cluster_without_the_gateway_api(traffic: GatewayTraffic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(api_handler.KINDS, API)
    with pytest.raises(NotFoundError, match="The cluster has no Gateway API"):
        traffic.check()
