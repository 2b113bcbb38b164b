"""Scaling a version: what is refused, and the objects as they are sent."""

from typing import Any

import pytest

from stepworks.errors import ConfigurationError
from stepworks.kube.builders.inference_service import (
    InferenceServiceSpec,
    build_inference_service,
    inference_service_spec,
)
from stepworks.kube.builders.scalers import build_scaler, queries
from stepworks.kube.builders.server_metrics import SERVERS, counted_at_a_server
from stepworks.kube.kinds.manifests import Manifest
from stepworks.serving.metrics import LATENCY, MODEL_LABEL, REQUESTS
from tests.unit.kube.test_inference_service import SERVER

PROMETHEUS = {"prometheus": "http://prometheus.monitoring:9090"}
LATENCY_SCALING = {"kind": "latency", "target_seconds": 0.5, **PROMETHEUS}
WAKE = {"query": 'sum(rate(istio_requests_total{destination_service_name="flights"}[1m])) or vector(0)'}
TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "flights-v1-predictor"}
METADATA = {"name": "flights-v1", "namespace": "team", "labels": {"stepworks.dev/keep": "true"}}


def spec(autoscaling: dict[str, Any], **given: Any) -> InferenceServiceSpec:
    return inference_service_spec(
        **{
            "storage_uri": "pvc://models/flights/1",
            "model_format": "onnx",
            "placement": SERVER,
            "mode": "Standard",
            "max_replicas": 4,
            "autoscaling": autoscaling,
            **given,
        }
    )


def scaler(autoscaling: dict[str, Any], **given: Any) -> Manifest:
    made = spec(autoscaling, **given)
    assert made.autoscaling
    built = build_scaler(
        made.autoscaling,
        name="flights-v1",
        namespace="team",
        min_replicas=made.min_replicas,
        max_replicas=made.max_replicas,
    )
    assert built
    return built


@pytest.mark.parametrize("kind", ["cpu", "memory"])
def test_utilisation_is_left_to_kserve(kind: str) -> None:
    made = spec({"kind": kind, "target_percent": 60}, min_replicas=2)
    service = build_inference_service(made, name="flights-v1")
    assert service["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"] == "hpa"
    predictor = service["spec"]["predictor"]
    scaled = {name: predictor[name] for name in ("minReplicas", "maxReplicas", "scaleMetric", "scaleTarget")}
    assert scaled == {"minReplicas": 2, "maxReplicas": 4, "scaleMetric": kind, "scaleTarget": 60}
    assert made.autoscaling
    assert build_scaler(made.autoscaling, name="a", namespace="b", min_replicas=2, max_replicas=4) is None


@pytest.mark.parametrize("autoscaling", [LATENCY_SCALING, {"kind": "custom_metric", "metric": "queue", "target": 3}])
def test_kserve_is_told_to_make_no_scaler_where_ours_scales(autoscaling: dict[str, Any]) -> None:
    service = build_inference_service(spec(autoscaling), name="flights-v1")
    assert service["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"] == "external"
    assert "scaleMetric" not in service["spec"]["predictor"]


def test_a_service_without_the_setting_is_sent_as_before() -> None:
    given = {"storage_uri": "pvc://models/flights/1", "model_format": "onnx", "placement": SERVER, "mode": "Standard"}
    service = build_inference_service(inference_service_spec(**given), name="flights-v1")
    assert service["metadata"]["annotations"] == {
        "serving.kserve.io/deploymentMode": "Standard",
        "serving.kserve.io/enable-prometheus-scraping": "false",  # or KServe names a port that is not there
    }


def test_latency_is_one_number_for_all_pods() -> None:
    series = 'stepworks_server_latency_seconds_bucket{model_name="flights-v1", namespace="team"}'
    assert scaler({**LATENCY_SCALING, "window_seconds": 60, "scale_down_seconds": 120}, min_replicas=2) == {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": METADATA,
        "spec": {
            "scaleTargetRef": TARGET,
            "minReplicaCount": 2,
            "maxReplicaCount": 4,
            "pollingInterval": 15,
            "advanced": {
                "horizontalPodAutoscalerConfig": {
                    "behavior": {
                        "scaleUp": {"stabilizationWindowSeconds": 0},
                        "scaleDown": {"stabilizationWindowSeconds": 120},
                    }
                }
            },
            "triggers": [
                {
                    "type": "prometheus",
                    "name": "latency",
                    "metricType": "Value",
                    "metadata": {
                        "serverAddress": "http://prometheus.monitoring:9090",
                        "query": f"(histogram_quantile(0.95, sum by (le) (rate({series}[60s]))) >= 0) "
                        f"or (sum({series}) * 0)",
                        "threshold": "0.5",
                        "activationThreshold": "0",
                        "ignoreNullValues": "false",
                    },
                }
            ],
        },
    }


@pytest.mark.parametrize(
    ("server", "asked"),
    [
        ("triton", 'sum(nv_inference_pending_request_count{pod=~"flights-v1-predictor-.+", namespace="team"})'),
        ("vllm", 'sum(vllm:num_requests_waiting{pod=~"flights-v1-predictor-.+", namespace="team"})'),
        ("tgi", 'sum(tgi_queue_size{pod=~"flights-v1-predictor-.+", namespace="team"})'),
        (
            "torchserve",
            'sum(rate(ts_queue_latency_microseconds{pod=~"flights-v1-predictor-.+", namespace="team"}[90s])) / 1000000',
        ),
        (
            "stepworks",
            'sum(rate(stepworks_server_latency_seconds_sum{model_name="flights-v1", namespace="team"}[90s]))',
        ),
    ],
)
def test_a_queue_is_counted_for_each_pod_by_the_metric_of_its_server(server: str, asked: str) -> None:
    scaling = {"kind": "queue_depth", "server": server, "target": 10, "window_seconds": 90, **PROMETHEUS}
    (trigger,) = scaler(scaling)["spec"]["triggers"]
    assert trigger["metricType"] == "AverageValue"
    assert trigger["metadata"]["threshold"] == "10"
    assert trigger["metadata"]["query"].startswith(f"({asked} >= 0) or ")


def test_requests_are_counted_for_each_pod() -> None:
    (trigger,) = scaler({"kind": "requests_per_second", "target": 50, **PROMETHEUS})["spec"]["triggers"]
    asked = 'sum(rate(stepworks_server_requests_total{model_name="flights-v1", namespace="team"}[120s]))'
    assert trigger["metricType"] == "AverageValue"
    assert trigger["metadata"]["query"].startswith(f"({asked} >= 0) or ")


def test_to_zero_and_back() -> None:
    made = scaler({**LATENCY_SCALING, "wake": {**WAKE, "above": 0.1}, "cooldown_seconds": 60}, min_replicas=0)
    spec = made["spec"]
    assert (spec["minReplicaCount"], spec["cooldownPeriod"]) == (1, 60)  # a candidate has one
    assert made["metadata"]["annotations"] == {"stepworks.dev/least-pods": "0"}
    by_name = {each["name"]: each["metadata"] for each in spec["triggers"]}
    assert by_name["wake"]["query"] == WAKE["query"]
    assert by_name["wake"]["activationThreshold"] == "0.1"
    assert float(by_name["wake"]["threshold"]) > 1e6  # it asks for no second pod
    assert by_name["latency"]["query"].endswith("or vector(0)")  # nobody is left to say it


def test_a_query_of_ones_own_knows_the_version_and_leaves_other_dollars_alone() -> None:
    query = 'max(age{service="$version", namespace="$namespace", le=~"1$"})'
    made = scaler({"kind": "query", "query": query, "target": 2.5, "per_pod": False, **PROMETHEUS})
    assert queries(made) == {"query": 'max(age{service="flights-v1", namespace="team", le=~"1$"})'}
    (trigger,) = made["spec"]["triggers"]
    assert (trigger["metricType"], trigger["metadata"]["threshold"]) == ("Value", "2.5")


def test_keda_makes_itself_known_to_prometheus() -> None:
    (trigger,) = scaler({**LATENCY_SCALING, "authentication": {"name": "prometheus"}})["spec"]["triggers"]
    assert trigger["authenticationRef"] == {"name": "prometheus", "kind": "TriggerAuthentication"}
    assert trigger["metadata"]["authModes"] == "bearer"


def test_a_custom_metric_of_the_pods() -> None:
    made = scaler({"kind": "custom_metric", "metric": "stepworks_requests_per_second", "target": 0.5})
    assert made == {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": METADATA,
        "spec": {
            "scaleTargetRef": TARGET,
            "minReplicas": 1,
            "maxReplicas": 4,
            "metrics": [
                {
                    "type": "Pods",
                    "pods": {
                        "metric": {"name": "stepworks_requests_per_second"},
                        "target": {"type": "AverageValue", "averageValue": "500m"},
                    },
                }
            ],
            "behavior": {
                "scaleUp": {"stabilizationWindowSeconds": 0},
                "scaleDown": {"stabilizationWindowSeconds": 300},
            },
        },
    }


def test_a_custom_metric_of_an_object_and_of_the_outside() -> None:
    ingress = {"api_version": "networking.k8s.io/v1", "kind": "Ingress", "name": "flights"}
    custom = {"kind": "custom_metric", "metric": "requests", "target": 100, "per_pod": False}
    (metric,) = scaler({**custom, "metric_of": "object", "described_object": ingress})["spec"]["metrics"]
    assert metric == {
        "type": "Object",
        "object": {
            "metric": {"name": "requests"},
            "target": {"type": "Value", "value": "100"},
            "describedObject": {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "flights"},
        },
    }
    (metric,) = scaler({**custom, "metric_of": "external", "selector": {"queue": "flights"}})["spec"]["metrics"]
    assert metric["type"] == "External"
    assert metric["external"]["metric"] == {"name": "requests", "selector": {"matchLabels": {"queue": "flights"}}}


NO_WAKE = "min_replicas: 0 needs autoscaling.wake: latency is counted at the model's servers"
OWN = {"kind": "query", "target": 1, **PROMETHEUS}


@pytest.mark.parametrize(
    ("autoscaling", "given", "told"),
    [
        (LATENCY_SCALING, {"mode": None}, "autoscaling is for the mode Standard, and the mode is the default"),
        (LATENCY_SCALING, {"mode": "Knative"}, "Knative scales by itself"),
        (LATENCY_SCALING, {"max_replicas": 1}, "both 1: there is nothing to scale"),
        (LATENCY_SCALING, {"min_replicas": 0}, NO_WAKE),
        ({"kind": "cpu"}, {"min_replicas": 0}, "min_replicas: 0 cannot be with autoscaling by cpu"),
        ({"kind": "custom_metric", "metric": "q", "target": 1}, {"min_replicas": 0}, "keeps one pod"),
        (None, {"min_replicas": 0}, "min_replicas: 0 is for the mode Knative, and the mode is Standard; there KEDA"),
        ({**OWN, "query": "sum(vllm:num_requests_waiting)"}, {"min_replicas": 0}, "asks for vllm:num_requests_waiting"),
        ({**LATENCY_SCALING, "wake": {"query": f"sum({REQUESTS})"}}, {}, f"asks for {REQUESTS}"),
        ({**LATENCY_SCALING, "server": "triton"}, {}, "triton tells Prometheus no histogram"),
        ({**LATENCY_SCALING, "server": "mlserver"}, {}, "server"),
        ({**LATENCY_SCALING, "target_seconds": 0}, {}, "target_seconds"),
        ({**LATENCY_SCALING, "target": 1}, {}, "there is no field target; did you mean target_seconds?"),
        ({**LATENCY_SCALING, "prometheus": "prometheus:9090"}, {}, "prometheus"),
        ({"kind": "gpu"}, {}, "kind"),
        ({"kind": "cpu", "target_percent": 120}, {}, "target_percent"),
        ({"kind": "custom_metric", "metric": "vllm:waiting", "target": 1}, {}, "metric"),
        ({"kind": "custom_metric", "metric": "q", "metric_of": "object", "target": 1}, {}, "described_object"),
        ({"kind": "custom_metric", "metric": "q", "per_pod": False, "target": 1}, {}, "per_pod: false"),
    ],
)
def test_what_cannot_be_is_named(autoscaling: dict[str, Any], given: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        spec(autoscaling, **given)
    assert told in caught.value.received


def test_a_query_of_a_gateway_may_wake_by_itself() -> None:
    made = scaler({**OWN, "query": WAKE["query"]}, min_replicas=0)
    assert list(queries(made)) == ["query"]


def test_the_table_names_what_our_server_counts() -> None:
    ours = SERVERS["stepworks"]
    assert ours.requests == REQUESTS
    assert f"{ours.latency}_bucket" == LATENCY
    assert MODEL_LABEL in ours.labels
    assert counted_at_a_server(f"rate({LATENCY}[1m])")
    assert counted_at_a_server(WAKE["query"]) is None
