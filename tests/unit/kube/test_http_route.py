"""An HTTPRoute as it is sent, and read back."""

import json

import pytest

from stepworks.errors import ConfigurationError
from stepworks.kube.api.references import Reference
from stepworks.kube.builders.http_route import Backend, backend_of, build_http_route, read_http_route
from stepworks.kube.builders.routes import Route, Routes
from stepworks.kube.kinds.manifests import Manifest

STABLE = Route("flights-v1", "http://flights-v1-predictor.team.svc.cluster.local/v2/models/flights-v1/infer")
CANDIDATE = Route("flights-v2", "http://flights-v2-predictor.team.svc:8080/v2/models/flights-v2/infer")
GATEWAY = Reference("gateway.networking.k8s.io/v1", "Gateway", "public", "gateways")


def build(routes: Routes) -> Manifest:
    return build_http_route(routes, name="flights", gateway=GATEWAY, host="flights.example.com")


def test_the_route_of_two_versions() -> None:
    route = build(Routes(STABLE, CANDIDATE, 30, trial=CANDIDATE.name))
    annotations = route["metadata"].pop("annotations")
    assert json.loads(annotations.pop("stepworks.dev/versions")) == {
        STABLE.name: STABLE.url,
        CANDIDATE.name: CANDIDATE.url,
    }
    assert annotations == {"stepworks.dev/trial": "flights-v2"}
    assert route == {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "flights", "labels": {"stepworks.dev/keep": "true"}},
        "spec": {
            "parentRefs": [
                {"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "gateways", "name": "public"}
            ],
            "hostnames": ["flights.example.com"],
            "rules": [
                {
                    "backendRefs": [
                        {"group": "", "kind": "Service", "name": "flights-v1-predictor", "port": 80, "weight": 70},
                        {"group": "", "kind": "Service", "name": "flights-v2-predictor", "port": 8080, "weight": 30},
                    ]
                }
            ],
        },
    }


@pytest.mark.parametrize(
    "routes",
    [
        Routes(STABLE),
        Routes(STABLE, trial=STABLE.name),
        Routes(STABLE, CANDIDATE, 1),
        Routes(STABLE, CANDIDATE, 50, trial=CANDIDATE.name),
    ],
)
def test_what_was_built_is_read_back(routes: Routes) -> None:
    assert read_http_route(build(routes)) == routes


def test_a_version_that_gets_nothing_is_no_backend() -> None:
    assert read_http_route(build(Routes(STABLE, CANDIDATE, 0))) == Routes(STABLE)
    assert read_http_route(build(Routes(STABLE, CANDIDATE, 100))) == Routes(CANDIDATE)


def test_weights_that_somebody_has_changed_are_read_as_they_are() -> None:
    route = build(Routes(STABLE, CANDIDATE, 10))
    for backend, weight in zip(route["spec"]["rules"][0]["backendRefs"], (3, 1), strict=True):
        backend["weight"] = weight
    assert read_http_route(route).percent == 25


def test_somebody_elses_route_is_refused() -> None:
    plain, moved, more = (build(Routes(STABLE)) for _ in range(3))
    del plain["metadata"]["annotations"]["stepworks.dev/versions"]
    moved["spec"]["rules"][0]["backendRefs"][0]["name"] = "another"
    more["spec"]["rules"].append({"backendRefs": []})
    for route in (plain, moved, more):
        with pytest.raises(ConfigurationError, match="was not made by Stepworks"):
            read_http_route(route)


@pytest.mark.parametrize(
    ("url", "backend"),
    [
        ("http://one.team.svc/v2", Backend("one", "team", 80)),
        ("http://one.team.svc.cluster.local:8000", Backend("one", "team", 8000)),
    ],
)
def test_the_service_of_an_address(url: str, backend: Backend) -> None:
    assert backend_of(Route("one", url)) == backend


@pytest.mark.parametrize("url", ["http://flights-v1-team.example.com", "http://10.0.0.1:80", "http://one.team", ""])
def test_an_address_outside_of_the_cluster_is_no_backend(url: str) -> None:
    with pytest.raises(ConfigurationError, match="has no Service"):
        backend_of(Route("flights-v1", url))
