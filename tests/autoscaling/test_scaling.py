"""The pods of a version become more and fewer, by the real KServe, KEDA, Prometheus Adapter and Prometheus.

What the servers and the gateway say of their queues is played; a model that is really slow is in test_latency.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stepworks.errors import ConflictError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import create, delete, get
from stepworks.kube.api.references import Reference
from stepworks.kube.model_scaling import let_rest
from testbed.bed import Bed
from tests.autoscaling.services import SECONDS, Played, gone, names, scalers
from tests.waiting import wait_for

SERVICE = Reference("serving.kserve.io/v1beta1", "InferenceService", "flights-v1")
WAITING = {
    "vllm": 'vllm:num_requests_waiting{{model_name="m"}} {}\n',
    "triton": 'nv_inference_pending_request_count{{model="m",version="1"}} {}\n',
}


@pytest.fixture
def played(scaling_bed: Bed, scaling_cluster: Cluster, tmp_path: Path) -> Played:
    return Played(scaling_bed, scaling_cluster, tmp_path)


def keda(played: Played, kind: str, **given: Any) -> dict[str, Any]:
    """A kind of KEDA, in a hurry."""
    pace = {"scale_down_seconds": 0, "polling_seconds": 2}
    return {"kind": kind, "prometheus": played.bed.prometheus, **pace, **given}


@pytest.mark.parametrize(("scaling_bed", "server"), [("newer", "vllm"), ("older", "triton")], indirect=["scaling_bed"])
def test_a_queue_makes_pods_more_and_fewer_and_nothing_else_scales(played: Played, server: str) -> None:
    cluster = played.cluster
    played.say(WAITING[server].format(1))
    played.deploy(keda(played, "queue_depth", server=server, target=4))
    assert names(scalers(cluster)) == ["keda-hpa-flights-v1"]  # and not KServe's
    played.wait_for_pods(1)
    played.say(WAITING[server].format(9))  # at each of them
    played.wait_for_pods(3)
    played.say(WAITING[server].format(0))
    played.wait_for_pods(1)
    assert names(scalers(cluster)) == ["keda-hpa-flights-v1"]
    delete(cluster, SERVICE)
    wait_for("its scalers have ended with it", gone(cluster), SECONDS)


def test_to_zero_and_back(played: Played) -> None:
    played.start_gateway()
    played.say("gateway_requests_waiting 1\n", "gateway")
    wake = {"query": 'sum(gateway_requests_waiting{namespace="$namespace"}) or vector(0)'}
    played.say(WAITING["vllm"].format(0))
    scaling = keda(played, "queue_depth", server="vllm", target=4, wake=wake, cooldown_seconds=5)
    played.deploy(scaling, min_replicas=0)
    played.say("gateway_requests_waiting 0\n", "gateway")
    played.wait_for_pods(1)  # a candidate is not wanted, and yet there
    let_rest(played.runner, "flights-v1")
    played.wait_for_pods(0)
    played.say("gateway_requests_waiting 3\n", "gateway")
    played.wait_for_pods(1)
    played.say("gateway_requests_waiting 0\n", "gateway")
    played.say(WAITING["vllm"].format(7))  # its own queue keeps it, too
    played.wait_for_pods(2)
    played.say(WAITING["vllm"].format(0))
    played.wait_for_pods(0)


def test_a_custom_metric_of_prometheus_adapter(played: Played) -> None:
    played.say(WAITING["vllm"].format(1))
    scaling = {"kind": "custom_metric", "metric": "vllm_requests_waiting", "target": 4, "scale_down_seconds": 0}
    played.deploy(scaling, min_replicas=2)
    played.wait_for_pods(2)  # the least
    assert names(scalers(played.cluster)) == ["flights-v1"]
    played.say(WAITING["vllm"].format(9))
    played.wait_for_pods(3)
    (scaler,) = scalers(played.cluster)
    (metric,) = scaler["status"]["currentMetrics"]
    assert metric["pods"]["metric"]["name"] == "vllm_requests_waiting"
    played.say(WAITING["vllm"].format(0))
    played.wait_for_pods(2)
    delete(played.cluster, SERVICE)
    wait_for("its scaler has ended with it", gone(played.cluster), SECONDS)


def test_without_a_measurement_the_pods_stay_as_they_are(played: Played) -> None:
    played.say(WAITING["vllm"].format(9))
    played.deploy(keda(played, "queue_depth", server="vllm", target=4))
    played.wait_for_pods(3)
    played.say("")
    reference = Reference("autoscaling/v2", "HorizontalPodAutoscaler", "keda-hpa-flights-v1")

    def reason() -> bool:
        conditions = get(played.cluster, reference)["status"].get("conditions") or ()
        return any(each["reason"] == "FailedGetExternalMetric" for each in conditions)

    wait_for("its scaler misses the metric", reason, SECONDS)
    played.wait_for_pods(3)


def test_a_second_scaler_is_refused(played: Played) -> None:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "flights-v1-predictor"}
    theirs = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "theirs"},
        "spec": {"scaleTargetRef": target, "maxReplicas": 2},
    }
    create(played.cluster, theirs)
    with pytest.raises(ConflictError, match="scaled already"):
        played.deploy(keda(played, "queue_depth", server="vllm", target=4))
