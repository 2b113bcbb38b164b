"""A model server as a Deployment and a Service: for a cluster without KServe, or a server that KServe does not know."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from stepworks.kube.builders.pod_template import owner_settings, placed_pod_template
from stepworks.kube.builders.workload import VariableName, with_sources
from stepworks.kube.kinds.manifests import Manifest
from stepworks.kube.kinds.names import check_name
from stepworks.kube.runs.belonging import KEEP_LABEL
from stepworks.placement.names import Image, LabelKey, LabelValue
from stepworks.placement.placement import Placement
from stepworks.placement.storage import ConfigMapSource, Mount, SecretSource
from stepworks.settings_file import Setting, validated

CONTAINER = "server"
"""The name of a pod's only container."""
MODEL_PATH = "/mnt/models"
"""Where the server finds the model, as KServe's do."""
SERVER_LABEL = "stepworks.dev/model-server"
"""Holds the name of the model server; the Deployment and the Service find its pods by it, whatever they serve."""
VERSION_LABEL = "stepworks.dev/model-version"
"""Holds the version that a pod serves."""
HTTP_PORT = 80

UrlPath = Annotated[str, Field(pattern=r"^/\S*$")]
Port = Annotated[int, Field(ge=1, le=65535, strict=True)]
ServiceType = Literal["ClusterIP", "NodePort", "LoadBalancer"]

_PROBE_SECONDS = 2
_ANSWER_SECONDS = 5
"""A server that is busy answers its probes late."""
_HUNG_PROBES = {"periodSeconds": 10, "failureThreshold": 6}
"""For a minute without an answer, a server is taken for busy; then it is started again."""


class ModelServerSpec(Setting):
    """A server of one model, where it runs, and how it is reached.

    Attributes:
        image: Its image.
        command: What the container runs in place of the image's entry point.
        arguments: The arguments of the command or the entry point.
        version: What it serves, as people call it. The pods carry it as a label.
        port: The port on which it listens, on all addresses of its pod.
        readiness_path: Answers 200 as soon as the server takes requests; without it a pod is ready once its port is
            open.
        liveness_path: Answers as long as the server works; without it, it works while its port is open.
        metrics_path: Where Prometheus finds metrics; without it the pods are not annotated for it.
        model: The claim with the model, mounted read-only; the server finds the model at its `mount_path`. None where
            the image holds it, or the server fetches it.
        environment: Environment variables.
        config_maps: ConfigMaps as variables or files, beside those of the placement.
        secrets: Secrets as variables or files, beside those of the placement.
        placement: Where the pods run and with what. Its workload is `inference`.
        replicas: How many pods; None where an autoscaler decides.
        max_surge: How many pods more there are while one version replaces another: there has to be room for them, and
            an accelerator for each. No pod ends before another is ready in its place.
        service_type: How it is reached: in the cluster only, at a port of every node besides, or at a load balancer.
        service_port: The port of the Service.
        service_annotations: Annotations of the Service, with which clouds choose a kind of load balancer.
        annotations: Annotations of the Deployment.
        ready_seconds: How long a version may take until all its pods are ready, the wait for nodes, images and the
            loading of the model included.
        drain_seconds: How long a pod goes on serving after it was told to end: so long nodes and load balancers may
            take to hear that it ends.
        termination_grace_period_seconds: How long a pod has from there until it is killed, `drain_seconds` included.
            The requests under way have the rest.
    """

    image: Image
    command: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    version: Annotated[LabelValue, Field(min_length=1)]
    port: Port = 8080
    readiness_path: UrlPath | None = None
    liveness_path: UrlPath | None = None
    metrics_path: UrlPath | None = None
    model: Mount | None = None
    environment: dict[VariableName, str] = Field(default_factory=dict)
    config_maps: tuple[ConfigMapSource, ...] = ()
    secrets: tuple[SecretSource, ...] = ()
    placement: Placement
    replicas: int | None = Field(default=1, ge=1, strict=True)
    max_surge: int = Field(default=1, ge=1, strict=True)
    service_type: ServiceType = "ClusterIP"
    service_port: Port = HTTP_PORT
    service_annotations: dict[str, str] = Field(default_factory=dict)
    annotations: dict[LabelKey, str] = Field(default_factory=dict)
    ready_seconds: int = Field(default=1800, ge=1, strict=True)
    drain_seconds: int = Field(default=10, ge=1, strict=True)
    termination_grace_period_seconds: int = Field(default=60, ge=1, strict=True)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.placement.workload != "inference":
            raise ValueError(
                f"the placement has workload: {self.placement.workload}, and that of a model server is inference"
            )
        if self.drain_seconds >= self.termination_grace_period_seconds:
            raise ValueError(
                f"drain_seconds is {self.drain_seconds} and termination_grace_period_seconds is "
                f"{self.termination_grace_period_seconds}: nothing is left for the requests under way"
            )
        if self.model and not self.model.read_only:
            raise ValueError(f"the claim {self.model.claim} of the model must be read_only: several pods read it")
        return self


def model_server_spec(**given: Any) -> ModelServerSpec:
    """Make the specification of a model server from what a step was given.

    Raises:
        ConfigurationError: A value is wrong; the message names the field.
    """
    return validated(
        ModelServerSpec,
        given,
        problem="The model server is wrong",
        expected="the fields of stepworks.kube.builders.model_server.ModelServerSpec",
        what_to_do="Correct the value; nothing was made.",
    )


def build_model_server(spec: ModelServerSpec, *, name: str) -> tuple[Manifest, Manifest]:
    """Build the Deployment and the Service of a model server; they outlive the run that makes them.

    Nothing in the pod template depends on the run, so that the same version, deployed again, restarts no pod.

    Args:
        spec: What serves and where.
        name: The name of both, by which clients know the model.

    Returns:
        The Deployment, and the Service.

    Raises:
        ConfigurationError: The name is not valid, or the placement cannot be applied.
    """
    check_name("Service", name)
    labels = {KEEP_LABEL: "true", SERVER_LABEL: name}
    deployment: Manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": {**labels, **owner_settings(spec.placement).labels}},
        "spec": {
            **({} if spec.replicas is None else {"replicas": spec.replicas}),
            "progressDeadlineSeconds": spec.ready_seconds,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": spec.max_surge, "maxUnavailable": 0}},
            "selector": {"matchLabels": {SERVER_LABEL: name}},
            "template": _template(spec, name),
        },
    }
    service: Manifest = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "type": spec.service_type,
            "selector": {SERVER_LABEL: name},
            # By its name: while one version replaces another, their pods may listen on different ports.
            "ports": [{"name": "http", "port": spec.service_port, "targetPort": "http", "protocol": "TCP"}],
        },
    }
    if spec.annotations:
        deployment["metadata"]["annotations"] = dict(spec.annotations)
    if spec.service_annotations:
        service["metadata"]["annotations"] = dict(spec.service_annotations)
    return deployment, service


def _template(spec: ModelServerSpec, name: str) -> Manifest:
    metadata: Manifest = {"labels": {SERVER_LABEL: name, VERSION_LABEL: spec.version}}
    if spec.metrics_path:
        metadata["annotations"] = {
            "prometheus.io/scrape": "true",
            "prometheus.io/port": str(spec.port),
            "prometheus.io/path": spec.metrics_path,
        }
    pod = {
        "terminationGracePeriodSeconds": spec.termination_grace_period_seconds,
        "containers": [_server(spec)],
    }
    placement = with_sources(spec.placement, spec.secrets, spec.config_maps)
    placement = placement.model_copy(update={"timeout_seconds": None})  # of a task: a server is not ended
    mounts = (spec.model,) if spec.model else ()
    return placed_pod_template({"metadata": metadata, "spec": pod}, placement, mounts, container=CONTAINER)


def _server(spec: ModelServerSpec) -> Manifest:
    ready, alive = (_probe(path, spec.port) for path in (spec.readiness_path, spec.liveness_path))
    server: Manifest = {"name": CONTAINER, "image": spec.image}
    if spec.command:
        server["command"] = list(spec.command)
    if spec.arguments:
        server["args"] = list(spec.arguments)
    if spec.environment:
        server["env"] = [{"name": name, "value": value} for name, value in spec.environment.items()]
    return {
        **server,
        "ports": [{"name": "http", "containerPort": spec.port, "protocol": "TCP"}],
        # Twice as long as a version may take: who waits for a server that does not come up finds it running, and says
        # what its probe has met, and not that it was told to end.
        "startupProbe": {**ready, "periodSeconds": _PROBE_SECONDS, "failureThreshold": spec.ready_seconds},
        "readinessProbe": {**ready, "periodSeconds": _PROBE_SECONDS, "failureThreshold": 3},
        "livenessProbe": {**alive, **_HUNG_PROBES},
        "lifecycle": {"preStop": {"sleep": {"seconds": spec.drain_seconds}}},
    }


def _probe(path: str | None, port: int) -> Manifest:
    asked = {"httpGet": {"path": path, "port": port}} if path else {"tcpSocket": {"port": port}}
    return {**asked, "timeoutSeconds": _ANSWER_SECONDS}
