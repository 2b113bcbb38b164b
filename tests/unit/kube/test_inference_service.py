"""An InferenceService as it is sent: whole objects are compared."""

from typing import Any

import pytest

from stepworks.errors import ConfigurationError
from stepworks.kube.builders.inference_service import build_inference_service, inference_service_spec
from tests.unit.kube.training_jobs import GPU

SERVER: dict[str, Any] = {
    "workload": "inference",
    "cpu": {"request": "1", "limit": "2"},
    "memory": {"request": "2Gi", "limit": "4Gi"},
}
RESOURCES = {"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"cpu": "2", "memory": "4Gi"}}

SCRAPED = {"serving.kserve.io/enable-prometheus-scraping": "true"}


def build(placement: dict[str, Any] | None = None, **given: Any) -> dict[str, Any]:
    small = {"storage_uri": "pvc://models/flights/1", "model_format": "onnx", "placement": placement or SERVER}
    return build_inference_service(inference_service_spec(**small | given), name="flights-v1")


def test_the_smallest_one() -> None:
    assert build() == {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "flights-v1", "labels": {"stepworks.dev/keep": "true"}, "annotations": SCRAPED},
        "spec": {
            "predictor": {
                "minReplicas": 1,
                "maxReplicas": 1,
                "model": {
                    "modelFormat": {"name": "onnx"},
                    "protocolVersion": "v2",
                    "storageUri": "pvc://models/flights/1",
                    "resources": RESOURCES,
                },
            }
        },
    }


def test_annotations_of_ones_own_do_not_hide_those_that_kserve_reads() -> None:
    given = {"team/why": "because", "serving.kserve.io/enable-prometheus-scraping": "false"}
    assert build(annotations=given)["metadata"]["annotations"] == {"team/why": "because", **SCRAPED}


def test_one_with_everything() -> None:
    placement = {
        **SERVER,
        **{key: GPU[key] for key in ("node_selector", "tolerations", "service_account", "shared_memory")},
        "accelerator": {"resource": "nvidia.com/mig-1g.10gb", "count": 1},
        "priority_class": "inference",
        "queue": "team",
        "labels": {"team": "flights"},
        "annotations": {"prometheus.io/scrape": "true"},
        "timeout_seconds": 60,
    }
    given = build(
        placement,
        model_format="huggingface",
        runtime="kserve-huggingfaceserver",
        protocol="v1",
        storage_uri="minio://models/llm",
        storage_secret="store",
        arguments=["--dtype=bfloat16"],
        environment={"A": "1"},
        secrets=[{"name": "hf", "env": {"token": "HF_TOKEN"}}],
        config_maps=[{"name": "prompts", "mount_path": "/etc/prompts"}],
        min_replicas=0,
        max_replicas=4,
        concurrency=8,
        timeout_seconds=120,
        mode="Knative",
    )
    gpu = {"nvidia.com/mig-1g.10gb": "1"}
    assert given["metadata"] == {
        "name": "flights-v1",
        "labels": {"stepworks.dev/keep": "true", "kueue.x-k8s.io/queue-name": "team"},
        "annotations": {
            "serving.kserve.io/deploymentMode": "Knative",
            "serving.kserve.io/storageSecretName": "store",
            **SCRAPED,
        },
    }
    assert given["spec"]["predictor"] == {
        "minReplicas": 0,
        "maxReplicas": 4,
        "containerConcurrency": 8,
        "timeout": 120,
        "labels": {"team": "flights", "kueue.x-k8s.io/queue-name": "team"},
        "annotations": {"prometheus.io/scrape": "true"},
        "nodeSelector": {"gpu-type": "a100-80gb"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "serviceAccountName": "worker",
        "priorityClassName": "inference",
        "volumes": [
            {"name": "prompts", "configMap": {"name": "prompts", "optional": False}},
            {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": "512Mi"}},
        ],
        "model": {
            "modelFormat": {"name": "huggingface"},
            "runtime": "kserve-huggingfaceserver",
            "protocolVersion": "v1",
            "storageUri": "s3://models/llm",
            "args": ["--dtype=bfloat16"],
            "env": [
                {"name": "A", "value": "1"},
                {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hf", "key": "token", "optional": False}}},
            ],
            "resources": {"requests": RESOURCES["requests"] | gpu, "limits": RESOURCES["limits"] | gpu},
            "volumeMounts": [
                {"name": "prompts", "mountPath": "/etc/prompts"},
                {"name": "shared-memory", "mountPath": "/dev/shm"},
            ],
        },
    }


def test_a_store_of_ones_own_needs_a_secret() -> None:
    with pytest.raises(ConfigurationError) as caught:
        build(storage_uri="minio://mlpipeline/v2/artifacts/model")
    assert "serving.kserve.io/s3-endpoint=minio-service.kubeflow:9000" in caught.value.what_to_do
    assert "serving.kserve.io/s3-usehttps=0" in caught.value.what_to_do
    for told in ({"storage_secret": "store"}, {"placement": {**SERVER, "service_account": "with-keys"}}):
        made = build(**told, storage_uri="minio://mlpipeline/v2/artifacts/model")
        assert made["spec"]["predictor"]["model"]["storageUri"] == "s3://mlpipeline/v2/artifacts/model"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"placement": GPU}, "has workload: training"),
        ({"min_replicas": 3}, "max_replicas is 1 and min_replicas is 3"),
        ({"mode": "Standard", "min_replicas": 0}, "min_replicas: 0 is for the mode Knative"),
        ({"mode": "Standard", "concurrency": 4}, "concurrency is for the mode Knative"),
        ({"protocol": "v3"}, "protocol"),
        ({"runtime": "No Name"}, "runtime"),
        ({"model_format": ""}, "model_format"),
    ],
)
def test_what_cannot_be_is_named(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        build(**given)
    assert told in caught.value.received


@pytest.mark.parametrize("name", ["1-flights", "Flights", "f" * 54])
def test_a_name_that_kserve_does_not_take_is_refused(name: str) -> None:
    spec = inference_service_spec(storage_uri="pvc://models/1", model_format="onnx", placement=SERVER)
    with pytest.raises(ConfigurationError, match=r"name|Name"):
        build_inference_service(spec, name=name)
