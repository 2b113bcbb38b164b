"""A model server's Deployment and Service as they are sent: whole objects are compared."""

from typing import Any

import pytest

from stepworks.errors import ConfigurationError
from stepworks.kube.builders.model_server import build_model_server, model_server_spec
from stepworks.kube.kinds.manifests import Manifest
from tests.unit.kube.test_inference_service import RESOURCES, SERVER
from tests.unit.kube.training_jobs import GPU

IMAGE = "registry.example.com/team/server:1"
MODEL = {
    "claim": "registry",
    "mount_path": "/mnt/models",
    "access_mode": "ReadWriteMany",
    "read_only": True,
    "sub_path": "flights/2/package",
}
LABELS = {"stepworks.dev/keep": "true", "stepworks.dev/model-server": "flights"}
OPEN = {"tcpSocket": {"port": 8080}, "timeoutSeconds": 5}


def build(placement: dict[str, Any] | None = None, **given: Any) -> tuple[Manifest, Manifest]:
    small = {"image": IMAGE, "version": "2", "placement": placement or SERVER}
    return build_model_server(model_server_spec(**small | given), name="flights")


def test_the_smallest_one() -> None:
    deployment, service = build()
    assert deployment == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "flights", "labels": LABELS},
        "spec": {
            "replicas": 1,
            "progressDeadlineSeconds": 1800,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "selector": {"matchLabels": {"stepworks.dev/model-server": "flights"}},
            "template": {
                "metadata": {"labels": {"stepworks.dev/model-server": "flights", "stepworks.dev/model-version": "2"}},
                "spec": {
                    "terminationGracePeriodSeconds": 60,
                    "containers": [
                        {
                            "name": "server",
                            "image": IMAGE,
                            "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
                            "startupProbe": {**OPEN, "periodSeconds": 2, "failureThreshold": 1800},
                            "readinessProbe": {**OPEN, "periodSeconds": 2, "failureThreshold": 3},
                            "livenessProbe": {**OPEN, "periodSeconds": 10, "failureThreshold": 6},
                            "lifecycle": {"preStop": {"sleep": {"seconds": 10}}},
                            "resources": RESOURCES,
                        }
                    ],
                },
            },
        },
    }
    assert service == {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "flights", "labels": LABELS},
        "spec": {
            "type": "ClusterIP",
            "selector": {"stepworks.dev/model-server": "flights"},
            "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}],
        },
    }


def test_one_with_everything() -> None:
    placement = {
        **SERVER,
        **{key: GPU[key] for key in ("node_selector", "tolerations", "service_account", "shared_memory")},
        "accelerator": {"resource": "nvidia.com/mig-1g.10gb", "count": 1},
        "priority_class": "inference",
        "queue": "team",
        "labels": {"team": "flights"},
        "annotations": {"sidecar.istio.io/inject": "true"},
        "timeout_seconds": 60,
    }
    deployment, service = build(
        placement,
        command=["serve"],
        arguments=["--fast"],
        port=9000,
        readiness_path="/ready",
        liveness_path="/live",
        metrics_path="/metrics",
        model=MODEL,
        environment={"A": "1"},
        secrets=[{"name": "hub", "env": {"token": "HF_TOKEN"}}],
        config_maps=[{"name": "prompts", "mount_path": "/etc/prompts"}],
        replicas=None,
        max_surge=2,
        service_type="LoadBalancer",
        service_port=8000,
        service_annotations={"example.com/internal": "true"},
        ready_seconds=601,
        drain_seconds=5,
        termination_grace_period_seconds=20,
    )
    assert deployment["metadata"]["labels"] == {**LABELS, "kueue.x-k8s.io/queue-name": "team"}
    assert "replicas" not in deployment["spec"]
    assert deployment["spec"]["progressDeadlineSeconds"] == 601
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 2, "maxUnavailable": 0}
    gpu = {"nvidia.com/mig-1g.10gb": "1"}
    ready, alive = ({"httpGet": {"path": path, "port": 9000}, "timeoutSeconds": 5} for path in ("/ready", "/live"))
    assert deployment["spec"]["template"] == {
        "metadata": {
            "labels": {
                "stepworks.dev/model-server": "flights",
                "stepworks.dev/model-version": "2",
                "team": "flights",
                "kueue.x-k8s.io/queue-name": "team",
            },
            "annotations": {
                "prometheus.io/scrape": "true",
                "prometheus.io/port": "9000",
                "prometheus.io/path": "/metrics",
                "sidecar.istio.io/inject": "true",
            },
        },
        "spec": {
            "terminationGracePeriodSeconds": 20,
            "nodeSelector": {"gpu-type": "a100-80gb"},
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
            "serviceAccountName": "worker",
            "priorityClassName": "inference",
            "volumes": [
                {"name": "registry", "persistentVolumeClaim": {"claimName": "registry"}},
                {"name": "prompts", "configMap": {"name": "prompts", "optional": False}},
                {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": "512Mi"}},
            ],
            "containers": [
                {
                    "name": "server",
                    "image": IMAGE,
                    "command": ["serve"],
                    "args": ["--fast"],
                    "env": [
                        {"name": "A", "value": "1"},
                        {
                            "name": "HF_TOKEN",
                            "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token", "optional": False}},
                        },
                    ],
                    "ports": [{"name": "http", "containerPort": 9000, "protocol": "TCP"}],
                    "startupProbe": {**ready, "periodSeconds": 2, "failureThreshold": 601},
                    "readinessProbe": {**ready, "periodSeconds": 2, "failureThreshold": 3},
                    "livenessProbe": {**alive, "periodSeconds": 10, "failureThreshold": 6},
                    "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
                    "resources": {"requests": RESOURCES["requests"] | gpu, "limits": RESOURCES["limits"] | gpu},
                    "volumeMounts": [
                        {
                            "name": "registry",
                            "mountPath": "/mnt/models",
                            "subPath": "flights/2/package",
                            "readOnly": True,
                        },
                        {"name": "prompts", "mountPath": "/etc/prompts"},
                        {"name": "shared-memory", "mountPath": "/dev/shm"},
                    ],
                }
            ],
        },
    }
    assert service["metadata"]["annotations"] == {"example.com/internal": "true"}
    assert service["spec"]["type"] == "LoadBalancer"
    assert service["spec"]["ports"] == [{"name": "http", "port": 8000, "targetPort": "http", "protocol": "TCP"}]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"placement": {key: SERVER[key] for key in ("cpu", "memory")}}, "that of a model server is inference"),
        ({"drain_seconds": 60}, "nothing is left for the requests under way"),
        ({"model": MODEL | {"read_only": False}}, "must be read_only"),
        ({"replicas": 0}, "replicas"),
        ({"port": 70000}, "port"),
        ({"readiness_path": "ready"}, "readiness_path"),
        ({"replica": 2}, "did you mean replicas?"),
    ],
)
def test_what_cannot_work_is_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        build(**given)
    assert told in str(caught.value)


def test_the_name_is_one_that_clients_can_resolve() -> None:
    spec = model_server_spec(image=IMAGE, version="2", placement=SERVER)
    with pytest.raises(ConfigurationError, match="name of a Service"):
        build_model_server(spec, name="1flights")
