"""Versions whose metrics a test sets, and how many pods they have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import apply, create, get, list_objects
from stepworks.kube.api.references import Reference, Selection, reference_to
from stepworks.kube.builders.inference_service import inference_service_spec
from stepworks.kube.kinds.manifests import Manifest, status_of
from stepworks.kube.kinds.rules import POD_READY
from stepworks.kube.model_service import deploy_inference_service
from stepworks.kube.waiting.wait import wait
from testbed.bed import Bed
from tests.control_plane.jobs import TARGET
from tests.control_plane.kube.workloads import allow_steps, connect_as
from tests.control_plane.serving.conftest import claim
from tests.waiting import wait_for

PROGRAM = (Path(__file__).parent / "played_server.py").read_text()
COMMAND = ["python3", "-c", PROGRAM]
SECONDS = 240.0
"""How long a scaler may take: Kubernetes' looks every 15 seconds, and this machine may be busy."""


class Played:
    """A namespace whose model servers are played: their metrics are what the test says.

    The step's calls are made with the permissions of its Role.
    """

    def __init__(self, bed: Bed, cluster: Cluster, folder: Path) -> None:
        self.bed, self.cluster = bed, cluster
        self.metrics = claim(bed, cluster, "models")
        self.say("")
        self.runner = connect_as(cluster, "runner", folder)
        allow_steps(cluster, "runner", "deploy", "roll_out_canary")
        container = {
            "name": "kserve-container",
            "image": TARGET.image("serving"),
            "command": COMMAND,
            "ports": [{"containerPort": 8080}],
        }
        spec = {
            "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "8080"},
            "supportedModelFormats": [{"name": "played", "version": "1"}],
            "protocolVersions": ["v2"],
            "containers": [container],
        }
        runtime = {"apiVersion": "serving.kserve.io/v1alpha1", "kind": "ServingRuntime", "metadata": {"name": "played"}}
        apply(cluster, {**runtime, "spec": spec})

    def say(self, metrics: str, folder: str = "servers") -> None:
        """Let the servers, or what else is named, tell Prometheus this."""
        place = self.metrics / folder
        place.mkdir(exist_ok=True)
        part = place / "part"
        part.write_text(metrics)
        part.rename(place / "metrics")

    def deploy(self, autoscaling: dict[str, Any], **given: Any) -> None:
        """Deploy the first version as a step does."""
        spec = inference_service_spec(
            **{
                "storage_uri": "pvc://models/servers",
                "model_format": "played",
                "runtime": "played",
                "placement": TARGET.placement("serving"),
                "mode": "Standard",
                "max_replicas": 3,
                "autoscaling": autoscaling,
                **given,
            }
        )
        deploy_inference_service(self.runner, spec, name="flights-v1", run="run-1", timeout=SECONDS)

    def start_gateway(self) -> None:
        """Run what is still there without a pod of the model, and counts."""
        self.say("", "gateway")
        container = {
            "name": "gateway",
            "image": TARGET.image("serving"),
            "command": COMMAND,
            "readinessProbe": {"httpGet": {"path": "/metrics", "port": 8080}, "periodSeconds": 1},
            "volumeMounts": [{"name": "models", "mountPath": "/mnt/models", "subPath": "gateway"}],
        }
        volumes = [{"name": "models", "persistentVolumeClaim": {"claimName": "models"}}]
        annotations = {"prometheus.io/scrape": "true", "prometheus.io/port": "8080"}
        spec = {"containers": [container], "volumes": volumes}
        metadata = {"name": "gateway", "annotations": annotations}
        pod = create(self.cluster, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        wait(self.cluster, reference_to(pod), until=POD_READY, timeout=60)

    def wait_for_pods(self, count: int) -> None:
        """Wait until the version has so many pods that serve, and no others."""
        wait_for_pods(self.cluster, count)


def wait_for_pods(cluster: Cluster, count: int, name: str = "flights-v1") -> None:
    """Wait until the Deployment of a version has so many pods that serve, and no others."""
    reference = Reference("apps/v1", "Deployment", f"{name}-predictor")

    def has() -> bool:
        found = get(cluster, reference)
        status = status_of(found)
        return found["spec"]["replicas"] == count == status.get("availableReplicas", 0) == status.get("replicas", 0)

    wait_for(f"{name} has {count} pods", has, SECONDS)


def scalers(cluster: Cluster, kind: str = "HorizontalPodAutoscaler") -> list[Manifest]:
    """What scales in the namespace."""
    version = {"HorizontalPodAutoscaler": "autoscaling/v2", "ScaledObject": "keda.sh/v1alpha1"}[kind]
    return list_objects(cluster, Selection(version, kind))


def names(found: list[Manifest]) -> list[str]:
    """Their names."""
    return [each["metadata"]["name"] for each in found]


def gone(cluster: Cluster) -> Callable[[], bool]:
    """Whether nothing scales any more."""
    return lambda: not scalers(cluster) and not scalers(cluster, "ScaledObject")
