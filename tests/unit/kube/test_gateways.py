"""Which routes a Gateway lets in, and what its controller says of one."""

from typing import Any

import pytest

from stepworks.kube.kinds.gateways import Listener, Refused, RouteInPlace, choose_listener, hosts_meet
from stepworks.kube.kinds.judgement import Pending, Succeeded
from stepworks.kube.kinds.manifests import Manifest

HOST = "flights.example.com"


def gateway(*listeners: dict[str, Any]) -> Manifest:
    return {"metadata": {"name": "public", "namespace": "gateways"}, "spec": {"listeners": list(listeners)}}


def listener(**changes: Any) -> dict[str, Any]:
    admitted = {"namespaces": {"from": "All"}}
    return {"name": "web", "protocol": "HTTP", "port": 80, "allowedRoutes": admitted, **changes}


def admitting(**namespaces: Any) -> dict[str, Any]:
    return listener(allowedRoutes={"namespaces": namespaces})


def choose(*listeners: dict[str, Any], labels: dict[str, str] | None = None) -> Listener | Refused:
    return choose_listener(gateway(*listeners), "team", labels, HOST)


def test_plain_http_is_taken_before_https() -> None:
    https = listener(name="secure", protocol="HTTPS", port=443)
    assert choose(https, listener(port=8080)) == Listener("http", 8080)
    assert choose(https) == Listener("https", 443)


@pytest.mark.parametrize(
    ("scheme", "port", "url"),
    [("http", 80, f"http://{HOST}"), ("http", 8080, f"http://{HOST}:8080"), ("https", 443, f"https://{HOST}")],
)
def test_the_address_of_a_host(scheme: str, port: int, url: str) -> None:
    assert Listener(scheme, port).url(HOST) == url


EXPRESSIONS = [
    {"key": "tier", "operator": "In", "values": ["ml"]},
    {"key": "closed", "operator": "DoesNotExist"},
    {"key": "tier", "operator": "Exists"},
    {"key": "tier", "operator": "NotIn", "values": ["web"]},
]


@pytest.mark.parametrize(
    "taken",
    [
        listener(hostname=HOST),
        listener(hostname="*.example.com"),
        listener(allowedRoutes={"namespaces": {"from": "All"}, "kinds": [{"kind": "HTTPRoute"}]}),
        admitting(**{"from": "Selector", "selector": {"matchLabels": {"tier": "ml"}}}),
        admitting(**{"from": "Selector", "selector": {"matchExpressions": EXPRESSIONS}}),
    ],
)
def test_what_a_listener_takes(taken: dict[str, Any]) -> None:
    assert choose(taken, labels={"tier": "ml"}) == Listener("http", 80)


@pytest.mark.parametrize(
    ("refusing", "told"),
    [
        (listener(protocol="TLS"), "its protocol is TLS"),
        (listener(hostname="*.example.org"), r"its host is *.example.org"),
        (listener(allowedRoutes={"namespaces": {"from": "All"}, "kinds": [{"kind": "GRPCRoute"}]}), "no HTTPRoutes"),
        (listener(allowedRoutes={}), "of the namespace gateways only"),
        (admitting(**{"from": "Selector", "selector": {"matchLabels": {"tier": "web"}}}), "does not select team"),
        *(
            (admitting(**{"from": "Selector", "selector": {"matchExpressions": [each]}}), "does not select team")
            for each in (
                {"key": "tier", "operator": "In", "values": ["web"]},
                {"key": "tier", "operator": "NotIn", "values": ["ml"]},
                {"key": "tier", "operator": "DoesNotExist"},
                {"key": "other", "operator": "Exists"},
            )
        ),
    ],
)
def test_what_a_listener_refuses(refusing: dict[str, Any], told: str) -> None:
    refused = choose(refusing, labels={"tier": "ml"})
    assert isinstance(refused, Refused)
    (reason,) = refused.reasons
    assert reason.startswith("listener web: ")
    assert told in reason


def test_labels_that_are_not_known_leave_it_to_the_controller() -> None:
    assert choose(admitting(**{"from": "Selector", "selector": {"matchLabels": {"tier": "web"}}}), labels=None)


def test_a_gateway_of_the_same_namespace_takes_its_routes() -> None:
    assert choose_listener(gateway(listener(allowedRoutes={})), "gateways", None, HOST) == Listener("http", 80)


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        ("", HOST, True),
        (HOST, HOST, True),
        ("*.example.com", HOST, True),
        ("*.example.com", "a.b.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "*.team.example.com", True),
        ("*.example.com", "*.example.org", False),
        ("flights.example.org", HOST, False),
        ("*.ample.com", HOST, False),
    ],
)
def test_hosts_meet(one: str, other: str, meet: bool) -> None:
    assert hosts_meet(one, other) is meet
    assert hosts_meet(other, one) is meet


def condition(name: str, status: str = "True", generation: int = 2, reason: str = "Known") -> dict[str, Any]:
    return {"type": name, "status": status, "reason": reason, "observedGeneration": generation}


def route(*conditions: dict[str, Any], parent: str = "public") -> Manifest:
    told = {"parentRef": {"name": parent, "namespace": "gateways"}, "conditions": list(conditions)}
    return {"metadata": {"namespace": "team", "generation": 2}, "status": {"parents": [told]}}


def judged(manifest: Manifest) -> str:
    found = RouteInPlace("gateways", "public").judge(manifest)
    assert isinstance(found, Pending)
    return found.reason


def test_a_route_is_in_place_when_its_present_generation_is_accepted_and_resolved() -> None:
    whole = route(condition("Accepted"), condition("ResolvedRefs"))
    assert isinstance(RouteInPlace("gateways", "public").judge(whole), Succeeded)
    assert "no controller" in judged({"metadata": {"generation": 2}})
    assert "no controller" in judged(route(condition("Accepted"), condition("ResolvedRefs"), parent="other"))
    assert "has not seen" in judged(route(condition("Accepted", generation=1), condition("ResolvedRefs", generation=1)))
    assert "has not seen" in judged(route(condition("Accepted"), condition("ResolvedRefs", generation=1)))
    missing = condition("ResolvedRefs", "False", reason="BackendNotFound")
    assert judged(route(condition("Accepted"), missing)) == "ResolvedRefs is False (BackendNotFound)"
