"""An InferenceGraph as it is sent, and read back."""

import pytest

from stepworks.errors import ConfigurationError
from stepworks.kube.builders.inference_graph import build_inference_graph, read_routes
from stepworks.kube.builders.routes import Route, Routes
from stepworks.kube.kinds.manifests import Manifest

STABLE = Route("flights-v1", "http://flights-v1-predictor.team.svc/v2/models/flights-v1/infer")
CANDIDATE = Route("flights-v2", "http://flights-v2-predictor.team.svc/v2/models/flights-v2/infer")


def steps(graph: Manifest) -> list[Manifest]:
    found: list[Manifest] = graph["spec"]["nodes"]["root"]["steps"]
    return found


def asked(graph: Manifest, point: int) -> str:
    """The version that KServe's router asks when it draws a number."""
    end = 0
    for step in steps(graph):
        end += step["weight"]
        if point < end:
            return str(step["name"])
    raise AssertionError("the router of KServe 0.17 panics here")


def test_one_version_has_all_of_the_traffic_and_no_lots_are_drawn() -> None:
    graph = build_inference_graph(Routes(STABLE, CANDIDATE, 0), name="flights", mode="Standard", replicas=2)
    annotations = graph["metadata"]["annotations"]
    assert annotations.pop("stepworks.dev/routes")
    assert graph == {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "InferenceGraph",
        "metadata": {
            "name": "flights",
            "labels": {"stepworks.dev/keep": "true"},
            "annotations": {"serving.kserve.io/deploymentMode": "Standard"},
        },
        "spec": {
            "minReplicas": 2,
            "nodes": {
                "root": {"routerType": "Sequence", "steps": [{"name": STABLE.name, "serviceUrl": STABLE.url}]},
            },
        },
    }
    assert build_inference_graph(Routes(None, CANDIDATE, 100), name="flights")["spec"]["nodes"] == {
        "root": {"routerType": "Sequence", "steps": [{"name": CANDIDATE.name, "serviceUrl": CANDIDATE.url}]}
    }


@pytest.mark.parametrize("percent", [1, 5, 25, 50, 99])
def test_every_number_that_a_router_may_draw_has_a_version(percent: int) -> None:
    graph = build_inference_graph(Routes(STABLE, CANDIDATE, percent), name="flights")
    assert sum(step["weight"] for step in steps(graph)) == 100  # KServe takes no other sum
    for numbers in (100, 101):  # KServe 0.20, and 0.17
        answers = [asked(graph, point) for point in range(numbers)]
        assert answers.count(STABLE.name) == 100 - percent
        assert answers.count(CANDIDATE.name) == numbers - 100 + percent


@pytest.mark.parametrize("percent", [5, 50])
def test_what_was_built_is_read_back(percent: int) -> None:
    routes = Routes(STABLE, CANDIDATE, percent)
    assert read_routes(build_inference_graph(routes, name="flights")) == routes


def test_a_version_on_trial_that_has_everything_is_told_from_one_for_good() -> None:
    on_trial = Routes(STABLE, CANDIDATE, 100, trial=CANDIDATE.name)
    read = read_routes(build_inference_graph(on_trial, name="flights"))
    assert read == Routes(CANDIDATE, trial=CANDIDATE.name)
    assert read != Routes(CANDIDATE)


def test_a_version_that_has_everything_is_read_as_the_stable_one() -> None:
    assert read_routes(build_inference_graph(Routes(STABLE, CANDIDATE, 100), name="flights")) == Routes(CANDIDATE)


def test_other_routes_have_another_annotation() -> None:
    hashes = {
        build_inference_graph(routes, name="flights")["metadata"]["annotations"]["stepworks.dev/routes"]
        for routes in (Routes(STABLE), Routes(STABLE, CANDIDATE, 5), Routes(STABLE, CANDIDATE, 6), Routes(CANDIDATE))
    }
    assert len(hashes) == 4


@pytest.mark.parametrize(
    "routes",
    [Routes(None), Routes(STABLE, None, 5), Routes(None, CANDIDATE, 5), Routes(STABLE, CANDIDATE, 101)],
)
def test_a_share_without_a_version_is_refused(routes: Routes) -> None:
    with pytest.raises(ConfigurationError, match="cannot be split like this"):
        build_inference_graph(routes, name="flights")


def test_somebody_elses_graph_is_refused() -> None:
    graph = build_inference_graph(Routes(STABLE), name="flights")
    del graph["metadata"]["annotations"]["stepworks.dev/routes"]
    with pytest.raises(ConfigurationError, match="was not made by Stepworks"):
        read_routes(graph)
