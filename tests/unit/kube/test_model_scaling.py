"""What is checked of the scaling of a version before anything is made, and what is made after it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from stepworks.errors import (
    AccessDeniedError,
    ConflictError,
    NotFoundError,
    QueryError,
    ServingError,
    StepworksError,
    WorkloadFailedError,
)
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.kinds.judgement import Pending, Succeeded
from stepworks.kube.model_scaling import AvailablePods, let_rest, scale
from stepworks.kube.model_service import deploy_inference_service
from stepworks.kube.scaling_checks import check_scaling
from tests.prometheus_server import MISSING, WHY_MISSING, running_prometheus
from tests.unit.kube import api_handler
from tests.unit.kube.api_handler import Manifest
from tests.unit.kube.api_server import ApiServer
from tests.unit.kube.test_autoscaling import LATENCY_SCALING, METADATA, TARGET, WAKE, spec

NAME = "flights-v1"
UNCHECKED = {**LATENCY_SCALING, "check_query": False}
CUSTOM = {"kind": "custom_metric", "metric": "queue", "target": 3}
SERVICE: Manifest = {
    "apiVersion": "serving.kserve.io/v1beta1",
    "kind": "InferenceService",
    "metadata": {"name": NAME, "namespace": "team", "uid": "uid-of-it"},
    "spec": {},
    "status": {"conditions": [{"type": "Ready", "status": "True"}]},
}
KEDA = {"keda.sh/v1alpha1": {"ScaledObject": "scaledobjects"}}
ADAPTER = {"custom.metrics.k8s.io/v1beta1": {"MetricValueList": "pods"}}
WRITES = ("create", "patch", "delete")


@pytest.fixture(autouse=True)
def kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a cluster with KEDA and Prometheus Adapter serves."""
    autoscaling = {"autoscaling/v2": {"HorizontalPodAutoscaler": "horizontalpodautoscalers"}}
    for version, served in {"apps/v1": {"Deployment": "deployments"}, **autoscaling, **KEDA, **ADAPTER}.items():
        monkeypatch.setitem(api_handler.KINDS, version, served)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that scrapes nothing."""
    with running_prometheus(tmp_path_factory.mktemp("prometheus"), [], {}) as url:
        yield url


def another(kind: str, name: str, owner: str = "", target: str = "flights-v1-predictor") -> Manifest:
    """A scaler of the Deployment."""
    version = {"HorizontalPodAutoscaler": "autoscaling/v2", "ScaledObject": "keda.sh/v1alpha1"}[kind]
    owners = [dict(zip(("kind", "name"), owner.split(), strict=True))] if owner else []
    metadata = {"name": name, "namespace": "team", "ownerReferences": owners}
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": metadata,
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": target}},
    }


def written(server: ApiServer) -> list[str]:
    return [call for call in server.calls if call.startswith(WRITES)]


@pytest.mark.parametrize("autoscaling", [UNCHECKED, CUSTOM, {"kind": "cpu"}])
@pytest.mark.parametrize(
    ("kind", "plural"),
    [("HorizontalPodAutoscaler", "horizontalpodautoscalers"), ("ScaledObject", "scaledobjects")],
)
def test_a_second_scaler_of_a_deployment_is_refused(
    server: ApiServer, cluster: Cluster, autoscaling: dict[str, Any], kind: str, plural: str
) -> None:
    server.put(another(kind, "theirs"), plural)
    with pytest.raises(ConflictError, match="scaled already") as caught:
        check_scaling(cluster, spec(autoscaling), NAME)
    assert caught.value.received.startswith(f"{kind} theirs")
    assert not written(server)


def test_what_belongs_to_the_version_is_no_second_scaler(server: ApiServer, cluster: Cluster) -> None:
    hpas = [
        another("HorizontalPodAutoscaler", "flights-v1-predictor", f"InferenceService {NAME}"),
        another("HorizontalPodAutoscaler", "keda-hpa-flights-v1", f"ScaledObject {NAME}"),
        another("HorizontalPodAutoscaler", "theirs", target="flights-v11-predictor"),
    ]
    for each in hpas:
        server.put(each, "horizontalpodautoscalers")
    server.put(another("ScaledObject", NAME), "scaledobjects")
    check_scaling(cluster, spec(UNCHECKED), NAME)
    assert not written(server)
    assert "dry-run patch scaledobjects flights-v1" in server.calls


@pytest.mark.parametrize(
    ("autoscaling", "absent", "told"),
    [(UNCHECKED, KEDA, "Have KEDA installed"), (CUSTOM, ADAPTER, "Have Prometheus Adapter installed")],
)
def test_what_is_not_installed_is_told(
    cluster: Cluster, autoscaling: dict[str, Any], absent: dict[str, Any], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in absent:
        monkeypatch.delitem(api_handler.KINDS, version)
    with pytest.raises(NotFoundError) as caught:
        check_scaling(cluster, spec(autoscaling), NAME)
    assert caught.value.what_to_do.startswith(told)


def test_a_missing_permission_is_told_before_anything_is_made(server: ApiServer, cluster: Cluster) -> None:
    server.denied.add(("patch", "scaledobjects"))
    with pytest.raises(AccessDeniedError, match="ScaledObject"):
        deploy_inference_service(cluster, spec(UNCHECKED), name=NAME, run="run-1")
    assert not written(server)


@pytest.mark.skipif(MISSING, reason=WHY_MISSING)
@pytest.mark.parametrize(
    ("query", "received"),
    [
        ("sum(no_such_metric)", "0 series"),
        ("vector(0) / 0", "nan"),
        ("vector(1) / 0", "inf"),
        ('vector(1) or label_replace(vector(2), "a", "b", "", "")', "2 series"),
        ("sum(", "parse error"),
    ],
)
def test_a_query_that_says_nothing_is_told_before_anything_is_made(
    server: ApiServer, cluster: Cluster, prometheus: str, query: str, received: str
) -> None:
    own = {"kind": "query", "query": query, "target": 1, "prometheus": prometheus}
    with pytest.raises(QueryError) as caught:
        deploy_inference_service(cluster, spec(own), name=NAME, run="run-1")
    assert received in caught.value.received
    assert not written(server)


@pytest.mark.skipif(MISSING, reason=WHY_MISSING)
def test_what_the_pods_will_count_is_not_there_before_them(cluster: Cluster, prometheus: str) -> None:
    check_scaling(cluster, spec({**LATENCY_SCALING, "prometheus": prometheus}), NAME)
    wakes = {**LATENCY_SCALING, "prometheus": prometheus, "wake": {"query": "sum(requests_at_the_gateway)"}}
    with pytest.raises(QueryError, match="wake"):  # but what wakes it is to be there
        check_scaling(cluster, spec(wakes, min_replicas=0), NAME)


def test_a_prometheus_that_does_not_answer_is_told(cluster: Cluster) -> None:
    nobody = {**LATENCY_SCALING, "prometheus": "http://127.0.0.1:9"}
    with pytest.raises(ServingError, match="does not answer"):
        check_scaling(cluster, spec(nobody), NAME)
    check_scaling(cluster, spec({**nobody, "check_query": False}), NAME)
    check_scaling(cluster, spec({**nobody, "authentication": {"name": "prometheus"}}), NAME)


def test_the_scaler_ends_with_its_service(server: ApiServer, cluster: Cluster) -> None:
    scale(cluster, SERVICE, spec(CUSTOM), timeout=1)
    made = server.objects["horizontalpodautoscalers", NAME]
    assert made["metadata"]["ownerReferences"] == [
        {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "name": NAME, "uid": "uid-of-it"}
    ]
    assert made["metadata"]["labels"] == METADATA["labels"]
    assert made["spec"]["scaleTargetRef"] == TARGET


def when(server: ApiServer, plural: str, change: dict[str, Any]) -> threading.Thread:
    """Play the controller: once the object is watched, give it a status."""

    def act() -> None:
        server.wait_for_watches(1)
        server.put(api_handler.merge(server.objects[plural, NAME], change), plural)

    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    return thread


def test_keda_has_to_accept_it(server: ApiServer, cluster: Cluster) -> None:
    keda = when(server, "scaledobjects", {"status": {"hpaName": "keda-hpa-flights-v1"}})
    said: list[str] = []
    scale(cluster, SERVICE, spec(UNCHECKED), timeout=1, say=said.append)
    keda.join()
    assert said == ["The ScaledObject flights-v1 keeps 1 to 4 pods, by latency."]


def test_what_keda_refuses_is_told(server: ApiServer, cluster: Cluster) -> None:
    condition = {"type": "Ready", "status": "False", "reason": "ScaledObjectCheckFailed", "message": "no such auth"}
    keda = when(server, "scaledobjects", {"status": {"conditions": [condition]}})
    with pytest.raises(WorkloadFailedError, match="KEDA does not scale") as caught:
        scale(cluster, SERVICE, spec(UNCHECKED), timeout=1)
    keda.join()
    assert "no such auth" in caught.value.received


def test_a_version_that_cannot_be_scaled_holds_nothing(server: ApiServer, cluster: Cluster) -> None:
    def act() -> None:
        server.wait_for_watches(1)
        made = server.objects["inferenceservices", NAME]
        server.denied.add(("patch", "horizontalpodautoscalers"))
        server.put({**made, "status": SERVICE["status"]}, "inferenceservices")

    kserve = threading.Thread(target=act, daemon=True)
    kserve.start()
    with pytest.raises(StepworksError, match="HorizontalPodAutoscaler"):
        deploy_inference_service(cluster, spec(CUSTOM), name=NAME, run="run-1")
    kserve.join()
    assert ("inferenceservices", NAME) not in server.objects


@pytest.mark.parametrize(
    ("replicas", "available", "expected"), [(1, 1, Pending), (2, 1, Pending), (2, 2, Succeeded), (3, 2, Succeeded)]
)
def test_the_least_number_of_pods_has_to_serve(replicas: int, available: int, expected: type) -> None:
    deployment: Manifest = {"spec": {"replicas": replicas}, "status": {"availableReplicas": available}}
    assert isinstance(AvailablePods(2).judge(deployment), expected)


def test_the_least_number_of_pods_is_waited_for(server: ApiServer, cluster: Cluster) -> None:
    deployment: Manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": TARGET["name"], "namespace": "team"},
        "spec": {"replicas": 1},
        "status": {"availableReplicas": 1},
    }
    server.put(deployment, "deployments")
    came = threading.Event()

    def act() -> None:
        server.wait_for_watches(1)
        came.set()
        server.put({**deployment, "spec": {"replicas": 2}, "status": {"availableReplicas": 2}}, "deployments")

    controller = threading.Thread(target=act, daemon=True)
    controller.start()
    scale(cluster, SERVICE, spec(CUSTOM, min_replicas=2), timeout=30)
    assert came.is_set()  # not before
    controller.join()


def test_a_version_that_serves_may_go_to_zero(server: ApiServer, cluster: Cluster) -> None:
    asleep = spec({**UNCHECKED, "wake": WAKE}, min_replicas=0)
    keda = when(server, "scaledobjects", {"status": {"hpaName": "keda-hpa-flights-v1"}})
    scale(cluster, SERVICE, asleep, timeout=1)
    keda.join()
    before = server.objects["scaledobjects", NAME]
    said: list[str] = []
    for _ in range(2):  # a killed step does it again
        let_rest(cluster, NAME, said.append)
    after = server.objects["scaledobjects", NAME]
    assert after["spec"] == {**before["spec"], "minReplicaCount": 0}
    assert after["metadata"]["ownerReferences"] == before["metadata"]["ownerReferences"]
    assert said == ["The ScaledObject flights-v1 keeps 0 to 4 pods from now on."]


def test_a_version_that_is_not_to_rest_is_left_as_it_is(
    server: ApiServer, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_rest(cluster, NAME)  # there is no scaler
    server.put(another("ScaledObject", NAME), "scaledobjects")
    let_rest(cluster, NAME)  # it has always had its least number
    server.denied.add(("get", "scaledobjects"))
    let_rest(cluster, NAME)
    assert not written(server)
    monkeypatch.delitem(api_handler.KINDS, "keda.sh/v1alpha1")
    let_rest(cluster, NAME)


@pytest.mark.skipif(MISSING, reason=WHY_MISSING)
def test_a_version_that_is_not_scraped_is_told(server: ApiServer, cluster: Cluster, prometheus: str) -> None:
    keda = when(server, "scaledobjects", {"status": {"hpaName": "keda-hpa-flights-v1"}})
    said: list[str] = []
    scale(cluster, SERVICE, spec({**LATENCY_SCALING, "prometheus": prometheus}), timeout=1, say=said.append)
    keda.join()
    assert said[-1].startswith("Prometheus knows nothing of flights-v1 after 60 seconds")


def test_a_prometheus_that_falls_silent_ends_no_version(server: ApiServer, cluster: Cluster) -> None:
    keda = when(server, "scaledobjects", {"status": {"hpaName": "keda-hpa-flights-v1"}})
    said: list[str] = []
    silent = spec({**LATENCY_SCALING, "prometheus": "http://127.0.0.1:9"})
    scale(cluster, SERVICE, silent, timeout=1, say=said.append)
    keda.join()
    assert said[-1].startswith("Prometheus does not answer")
