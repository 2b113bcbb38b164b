"""Versions of a model as InferenceServices, by the real controller of KServe, in both generations."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from stepworks.errors import AlreadyExistsError, ConfigurationError, WorkloadFailedError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import apply, delete, find, list_objects
from stepworks.kube.api.references import Reference, Selection
from stepworks.kube.builders.inference_graph import build_inference_graph
from stepworks.kube.builders.inference_service import InferenceServiceSpec, inference_service_spec
from stepworks.kube.builders.routes import Route, Routes
from stepworks.kube.graph_traffic import GraphTraffic
from stepworks.kube.kinds.manifests import Manifest, annotations_of
from stepworks.kube.model_service import address_of, deploy_inference_service
from stepworks.operations.clean_up import clean_up
from stepworks.placement.placement import Placement
from testbed.bed import Bed
from tests.control_plane.jobs import TARGET
from tests.control_plane.pods import holding, pods
from tests.waiting import wait_for

KSERVE = "serving.kserve.io/v1beta1"
STOP = "serving.kserve.io/stop"
SECONDS = 120.0


def placed(outcome: str = "running", **changes: Any) -> Placement:
    """A server on a GPU node of the target; an annotation says what the simulated node makes of its pod."""
    training = TARGET.placement("training")
    return Placement.model_validate(
        {
            "workload": "inference",
            "cpu": {"request": "1", "limit": "2"},
            "memory": {"request": "1Gi", "limit": "2Gi"},
            "accelerator": training.accelerator,
            "node_selector": training.node_selector,
            "tolerations": training.tolerations,
            "annotations": {"testbed.stepworks.dev/outcome": outcome},
            **changes,
        }
    )


def spec(placement: Placement | None = None, **changes: Any) -> InferenceServiceSpec:
    """A model for Triton, which comes with KServe."""
    return inference_service_spec(
        **{
            "storage_uri": "gs://models/flights/1",
            "model_format": "onnx",
            "mode": "Standard",
            "placement": placement or placed(),
            **changes,
        }
    )


def deploy(
    cluster: Cluster,
    given: InferenceServiceSpec,
    *,
    version: int = 1,
    run: str = "run-1",
    timeout: float = SECONDS,
    scheduling_timeout: float = SECONDS,
) -> Manifest:
    """Deploy it as a step does."""
    return deploy_inference_service(
        cluster, given, name=f"flights-v{version}", run=run, timeout=timeout, scheduling_timeout=scheduling_timeout
    )


def services(cluster: Cluster) -> list[str]:
    """Those that are not stopped."""
    found = list_objects(cluster, Selection(KSERVE, "InferenceService"))
    return [each["metadata"]["name"] for each in found if annotations_of(each).get(STOP) != "true"]


def refused(cluster: Cluster, given: InferenceServiceSpec, **more: Any) -> WorkloadFailedError:
    """Deploy what cannot serve as the second version, of which nothing is held afterwards."""
    with pytest.raises(WorkloadFailedError) as caught:
        deploy(cluster, given, version=2, **more)
    wait_for("it is gone or stopped", lambda: "flights-v2" not in services(cluster))
    wait_for("its pods are gone", lambda: not [each for each in holding(cluster) if each.startswith("flights-v2")])
    return caught.value


def test_a_version_serves_on_the_nodes_of_its_placement_and_outlives_its_run(kubeflow_cluster: Cluster) -> None:
    cluster = kubeflow_cluster
    service = deploy(cluster, spec())
    assert address_of(service).startswith("http")
    (pod,) = pods(cluster, "Running")
    assert pod["spec"]["nodeName"].startswith("simulated-gpu")
    (server,) = pod["spec"]["containers"]
    assert server["resources"]["limits"] == {"cpu": "2", "memory": "2Gi", "nvidia.com/gpu": "1"}
    assert "ownerReferences" not in service["metadata"]
    again = deploy(cluster, spec(), run="run-2")  # a later run deploys the same
    assert again["metadata"]["uid"] == service["metadata"]["uid"]
    with pytest.raises(AlreadyExistsError, match="made from something else"):
        deploy(cluster, spec(storage_uri="gs://models/flights/2"), run="run-2")
    assert services(cluster) == ["flights-v1"]


def test_a_bad_version_takes_no_good_one_down(kubeflow_cluster: Cluster) -> None:
    cluster = kubeflow_cluster
    deploy(cluster, spec())
    (good,) = holding(cluster)
    error = refused(cluster, spec(placed("image-missing")), timeout=5)
    assert error.cause == "image-missing"
    assert services(cluster) == ["flights-v1"]
    assert holding(cluster) == [good]
    assert deploy(cluster, spec(), version=2, run="run-2")  # another run, with what was wrong mended
    assert services(cluster) == ["flights-v1", "flights-v2"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"runtime": "no-such-runtime"}, "no-such-runtime"),
        ({"model_format": "no-such-format"}, "no-such-format"),
        ({"runtime": "kserve-sklearnserver"}, "kserve-sklearnserver"),
    ],
)
def test_what_no_runtime_serves_is_told(kubeflow_cluster: Cluster, changes: dict[str, Any], told: str) -> None:
    error = refused(kubeflow_cluster, spec(**changes), timeout=30)
    assert error.cause == "spec-invalid"
    assert told in error.page


def test_no_room_is_told_in_time_and_holds_nothing(kubeflow_cluster: Cluster) -> None:
    gpus = {"resource": "nvidia.com/gpu", "count": 64}
    error = refused(kubeflow_cluster, spec(placed(accelerator=gpus)), scheduling_timeout=2)
    assert "nvidia.com/gpu" in error.page
    wait_for("no pod is left", lambda: not holding(kubeflow_cluster))


def test_a_retried_step_takes_up_what_it_made(kubeflow_cluster: Cluster) -> None:
    first = deploy(kubeflow_cluster, spec())
    assert deploy(kubeflow_cluster, spec())["metadata"]["uid"] == first["metadata"]["uid"]


def test_a_store_of_ones_own_without_a_secret_is_refused_before_anything_is_made(kubeflow_cluster: Cluster) -> None:
    with pytest.raises(ConfigurationError, match="S3 store of your own"):
        deploy(kubeflow_cluster, spec(storage_uri="minio://mlpipeline/model"))
    assert services(kubeflow_cluster) == []


def test_a_person_says_yes_by_the_command_that_is_told(kubeflow_bed: Bed, kubeflow_cluster: Cluster) -> None:
    routes = Routes(Route("flights-v1", "http://one"), Route("flights-v2", "http://two"), 10, "flights-v2")
    graph = build_inference_graph(routes, name="flights", mode="Standard")
    traffic = GraphTraffic(kubeflow_cluster, "flights", mode="Standard")
    apply(kubeflow_cluster, graph)
    assert not traffic.approved("flights-v2", 50)
    kubeflow_bed.kubectl(*shlex.split(traffic.approval("flights-v2", 50))[1:])
    apply(kubeflow_cluster, graph)  # as at the next stage
    assert [traffic.approved("flights-v2", share) for share in (25, 50, 100)] == [True, True, False]
    assert not traffic.approved("flights-v3", 50)


def test_the_exit_step_leaves_a_server_that_serves(kubeflow_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepworks.operations.clean_up.cluster_of_step", lambda: kubeflow_cluster)
    deploy(kubeflow_cluster, spec())
    clean_up("run-1", [], objects=True)
    assert services(kubeflow_cluster) == ["flights-v1"]
    reference = Reference(KSERVE, "InferenceService", "flights-v1")
    delete(kubeflow_cluster, reference)
    assert wait_for("it is gone", lambda: find(kubeflow_cluster, reference) is None)
