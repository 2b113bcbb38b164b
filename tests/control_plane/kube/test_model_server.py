"""Model servers by the real controller of Deployments, on simulated nodes: updates, and the way back."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import pytest

from stepworks.errors import AlreadyExistsError, NotFoundError, ServingError, StepworksError, WorkloadFailedError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import apply, find, get, list_objects
from stepworks.kube.api.references import Reference, Selection
from stepworks.kube.builders.model_server import VERSION_LABEL, ModelServerSpec, build_model_server, model_server_spec
from stepworks.kube.builders.routes import Route, Routes
from stepworks.kube.gateway_traffic import GatewayTraffic
from stepworks.kube.graph_traffic import GraphTraffic
from stepworks.kube.kinds.manifests import Manifest, labels_of, status_of
from stepworks.kube.model_server import Verify, deploy_model_server
from stepworks.kube.runs.belonging import belonging_to
from tests.control_plane.jobs import TARGET
from tests.control_plane.kube.workloads import deployment
from tests.control_plane.pods import holding
from tests.waiting import wait_for

DEPLOYMENT = Reference("apps/v1", "Deployment", "flights")
SERVICE = Reference("v1", "Service", "flights")


def spec(
    version: int, outcome: str = "running", *, service_account: str = "default", **changes: Any
) -> ModelServerSpec:
    """A server in two pods; an annotation says what the simulated node makes of them."""
    placement = TARGET.placement("small").model_dump(exclude_unset=True)
    placement |= {
        "service_account": service_account,
        "workload": "inference",
        "annotations": {"testbed.stepworks.dev/outcome": outcome},
    }
    given = {"image": TARGET.image("serving"), "version": str(version), "placement": placement, "replicas": 2}
    short = {"ready_seconds": 30, "drain_seconds": 1, "termination_grace_period_seconds": 2}
    return model_server_spec(**{**given, **short, **changes})


def right(_address: str, _version: str) -> None:
    """A server that answers rightly."""


def wrong() -> ServingError:
    return ServingError("The server does not answer as the trained model does", what_to_do="Do not deploy.")


def wrong_of(*versions: str) -> Verify:
    def verify(_address: str, version: str) -> None:
        if version in versions:
            raise wrong()

    return verify


def deploy(cluster: Cluster, given: ModelServerSpec, verify: Verify = right, run: str = "run-1", **more: Any) -> str:
    return deploy_model_server(cluster, given, name="flights", run=run, verify=verify, **more)


def versions(cluster: Cluster) -> dict[str, list[str]]:
    """The version of the template, and those of the pods that are not being ended."""
    pods = [
        each for each in list_objects(cluster, Selection("v1", "Pod")) if "deletionTimestamp" not in each["metadata"]
    ]
    return {
        "template": [labels_of(get(cluster, DEPLOYMENT)["spec"]["template"])[VERSION_LABEL]],
        "pods": sorted(labels_of(each)[VERSION_LABEL] for each in pods),
    }


def leave_behind(cluster: Cluster, given: ModelServerSpec, run: str) -> None:
    """Leave what a step has made that was killed at once."""
    for each in build_model_server(given, name="flights"):
        apply(cluster, belonging_to(cluster, each, run))


def test_a_version_replaces_another_in_place(cluster: Cluster) -> None:
    assert deploy(cluster, spec(1)) == f"http://flights.{cluster.namespace}.svc"
    uid = get(cluster, DEPLOYMENT)["metadata"]["uid"]
    assert deploy(cluster, spec(2, service_port=8000), run="run-2") == f"http://flights.{cluster.namespace}.svc:8000"
    assert get(cluster, DEPLOYMENT)["metadata"]["uid"] == uid
    assert versions(cluster) == {"template": ["2"], "pods": ["2", "2"]}
    before = holding(cluster)
    deploy(cluster, spec(2, service_port=8000), run="run-3")
    assert holding(cluster) == before, "the same version in another run restarts no pod"


@pytest.mark.parametrize("killed", [False, True])
def test_a_version_that_answers_wrongly_gives_way_to_the_one_before(cluster: Cluster, killed: bool) -> None:
    deploy(cluster, spec(1))
    first = set(holding(cluster))
    asked: list[str] = []

    def verify(address: str, version: str) -> None:
        asked.append(version)
        wrong_of("2")(address, version)

    if killed:
        leave_behind(cluster, spec(2), "run-2")
    with pytest.raises(ServingError) as caught:
        deploy(cluster, spec(2, service_port=8000), verify, run="run-2")
    assert caught.value.what_to_do == "Do not deploy. Version 1 serves as before."
    assert asked == ["2", "1"]
    assert versions(cluster) == {"template": ["1"], "pods": ["1", "1"]}
    assert get(cluster, SERVICE)["spec"]["ports"][0]["port"] == 80
    replica_sets = list_objects(cluster, Selection("apps/v1", "ReplicaSet"))
    assert max(status_of(each)["replicas"] for each in replica_sets) == 2
    assert len(replica_sets) == 2, "the old ReplicaSet has its pods again"
    deploy(cluster, spec(3), run="run-3")
    assert versions(cluster) == {"template": ["3"], "pods": ["3", "3"]}
    assert first.isdisjoint(holding(cluster))


def test_a_version_that_does_not_start_takes_no_pod_of_the_one_before(cluster: Cluster) -> None:
    deploy(cluster, spec(1))
    first = holding(cluster)
    with pytest.raises(WorkloadFailedError) as caught:
        deploy(cluster, spec(2, "image-missing", ready_seconds=3), run="run-2")
    assert str(caught.value).endswith("Version 1 serves as before.")
    assert "ImagePullBackOff" in str(caught.value)
    assert all(name not in str(caught.value) for name in first), "the page is about the new pods"
    assert holding(cluster) == first


def test_what_would_fail_again_is_not_tried_again_by_the_same_run(cluster: Cluster) -> None:
    deploy(cluster, spec(1))
    first, hopeless = holding(cluster), spec(2, service_account="none-such")
    with pytest.raises(WorkloadFailedError) as caught:
        deploy(cluster, hopeless, run="run-2")
    assert caught.value.problem.endswith("there is no ServiceAccount none-such")
    generation = get(cluster, DEPLOYMENT)["metadata"]["generation"]
    with pytest.raises(WorkloadFailedError, match="An earlier attempt of this step failed") as again:
        deploy(cluster, hopeless, run="run-2")
    assert again.value.problem == caught.value.problem
    assert get(cluster, DEPLOYMENT)["metadata"]["generation"] == generation
    assert holding(cluster) == first
    apply(cluster, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "none-such"}})
    deploy(cluster, hopeless, run="run-3")
    assert versions(cluster) == {"template": ["2"], "pods": ["2", "2"]}


def test_a_first_version_that_cannot_serve_is_deleted(cluster: Cluster) -> None:
    mount = {"claim": "none-such", "mount_path": "/mnt/models", "access_mode": "ReadWriteMany", "read_only": True}
    with pytest.raises(WorkloadFailedError) as caught:
        deploy(cluster, spec(1, model=mount, ready_seconds=3))
    assert "none-such" in str(caught.value)
    assert "What to do:" in str(caught.value)
    wait_for("nothing is held", lambda: not holding(cluster))
    assert (find(cluster, DEPLOYMENT), find(cluster, SERVICE)) == (None, None)


def stopped(at: Callable[[], None]) -> Verify:
    def verify(_address: str, version: str) -> None:
        if version == "2":
            at()

    return verify


def test_a_step_that_is_told_to_end_goes_back(cluster: Cluster) -> None:
    deploy(cluster, spec(1))
    with pytest.raises(SystemExit):
        deploy(cluster, spec(2), stopped(lambda: signal.raise_signal(signal.SIGTERM)), run="run-2")
    wait_for("it went back", lambda: versions(cluster) == {"template": ["1"], "pods": ["1", "1"]})


def test_what_another_run_has_deployed_meanwhile_is_left_alone(cluster: Cluster) -> None:
    deploy(cluster, spec(1))

    def meanwhile() -> None:
        deploy(cluster, spec(3), run="run-3")
        raise wrong()

    with pytest.raises(ServingError):
        deploy(cluster, spec(2), stopped(meanwhile), run="run-2")
    assert versions(cluster) == {"template": ["3"], "pods": ["3", "3"]}
    with pytest.raises(StepworksError, match="changed the Deployment flights meanwhile"):
        deploy(cluster, spec(2), stopped(lambda: leave_behind(cluster, spec(4), "run-4")), run="run-2")
    assert versions(cluster)["template"] == ["4"]


@pytest.mark.parametrize("kind", ["Deployment", "Service"])
def test_what_no_step_has_made_is_refused(cluster: Cluster, kind: str) -> None:
    ports = [{"port": 80}]
    service: Manifest = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "flights"},
        "spec": {"ports": ports},
    }
    foreign = deployment("flights", "a") if kind == "Deployment" else service
    made = apply(cluster, foreign)
    with pytest.raises(AlreadyExistsError, match=f"There is a {kind} flights already"):
        deploy(cluster, spec(1))
    other = SERVICE if kind == "Deployment" else DEPLOYMENT
    assert find(cluster, other) is None
    present = get(cluster, SERVICE if kind == "Service" else DEPLOYMENT)
    assert (
        present["metadata"]["generation" if kind == "Deployment" else "resourceVersion"]
        == (made["metadata"]["generation" if kind == "Deployment" else "resourceVersion"])
    )


def test_kserve_takes_no_name_from_a_model_server(kubeflow_cluster: Cluster) -> None:
    cluster = kubeflow_cluster
    deploy(cluster, spec(1))
    serving = holding(cluster)
    traffic = GraphTraffic(cluster, "flights", mode="Standard")
    with pytest.raises(AlreadyExistsError, match="flights is served without KServe already") as caught:
        traffic.send(Routes(Route("flights-v2", "http://flights-v2")))
    assert f"kubectl -n {cluster.namespace} delete service flights" in caught.value.what_to_do
    assert traffic.routes() is None
    assert holding(cluster) == serving


def test_a_gateway_is_refused_where_there_is_no_gateway_api(cluster: Cluster) -> None:
    with pytest.raises(NotFoundError, match="The cluster has no Gateway API") as caught:
        GatewayTraffic(cluster, "flights", gateway="gateways/public", host="flights.example.com").check()
    assert "leave gateway and host out" in caught.value.what_to_do
