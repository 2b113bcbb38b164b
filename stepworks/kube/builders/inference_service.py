"""A KServe InferenceService: one model, in the pods of a ServingRuntime, on the nodes of a placement."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from stepworks.artifact_uri import for_kserve
from stepworks.errors import ConfigurationError
from stepworks.kube.builders.autoscaling import Autoscaling, UtilizationScaling, check_replicas
from stepworks.kube.builders.pod_template import owner_settings, placed_pod_template
from stepworks.kube.builders.workload import VariableName, with_sources
from stepworks.kube.kinds.manifests import Manifest
from stepworks.kube.kinds.names import check_name
from stepworks.kube.runs.belonging import KEEP_LABEL
from stepworks.placement.names import LabelKey, ObjectName
from stepworks.placement.placement import Placement
from stepworks.placement.storage import ConfigMapSource, SecretSource
from stepworks.settings_file import Setting, validated

CONTAINER = "kserve-container"
"""The name by which KServe knows the container that serves."""

Protocol = Literal["v1", "v2", "grpc-v1", "grpc-v2"]
Mode = Literal["Standard", "Knative"]


class InferenceServiceSpec(Setting):
    """A model, what serves it, and where.

    Attributes:
        storage_uri: Where the model lies; an artifact's URI, or any that KServe reads.
        model_format: Its format as runtimes name it: `onnx`, `huggingface`, `triton`.
        runtime: The ServingRuntime or ClusterServingRuntime; without it KServe chooses one by format and protocol.
        protocol: What its clients speak. A runtime must list it.
        arguments: Arguments of the server, on top of the runtime's.
        environment: Environment variables of the server.
        config_maps: ConfigMaps as variables or files, beside those of the placement.
        secrets: Secrets as variables or files, beside those of the placement.
        storage_secret: The Secret with the keys of the model's store. Without it those of the ServiceAccount are used.
        placement: Where the pods run and with what. Its workload is `inference`, which gives the memory headroom.
        min_replicas: How many pods there are at least.
        max_replicas: How many there are at most.
        autoscaling: By what their number follows, in Standard mode; without it KServe takes 80 % of the requested CPU.
        concurrency: How many requests a pod has at once at most; 0 for no limit. In Knative mode only.
        timeout_seconds: How long a request may take.
        mode: How KServe deploys it; None for the cluster's default.
        annotations: Annotations of the InferenceService, beside those by which KServe is told the above.
    """

    storage_uri: str
    model_format: Annotated[str, Field(min_length=1)]
    runtime: ObjectName | None = None
    protocol: Protocol = "v2"
    arguments: tuple[str, ...] = ()
    environment: dict[VariableName, str] = Field(default_factory=dict)
    config_maps: tuple[ConfigMapSource, ...] = ()
    secrets: tuple[SecretSource, ...] = ()
    storage_secret: ObjectName | None = None
    placement: Placement
    min_replicas: int = Field(default=1, ge=0, strict=True)
    max_replicas: int = Field(default=1, ge=1, strict=True)
    autoscaling: Autoscaling | None = None
    concurrency: int = Field(default=0, ge=0, strict=True)
    timeout_seconds: int | None = Field(default=None, ge=1, strict=True)
    mode: Mode | None = None
    annotations: dict[LabelKey, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.placement.workload != "inference":
            raise ValueError(
                f"the placement has workload: {self.placement.workload}, and that of a model server is inference"
            )
        if self.max_replicas < self.min_replicas:
            raise ValueError(f"max_replicas is {self.max_replicas} and min_replicas is {self.min_replicas}")
        if self.mode == "Standard" and self.concurrency:
            raise ValueError("concurrency is for the mode Knative, and the mode is Standard")
        self._check_scaling()
        return self

    def _check_scaling(self) -> None:
        if self.autoscaling is None:
            if self.mode == "Standard" and not self.min_replicas:
                raise ValueError(
                    "min_replicas: 0 is for the mode Knative, and the mode is Standard; there KEDA can do it: give "
                    "autoscaling of a kind that KEDA scales, with wake"
                )
            return
        if self.mode != "Standard":
            raise ValueError(
                f"autoscaling is for the mode Standard, and the mode is {self.mode or 'the default of the cluster'}; "
                "Knative scales by itself"
            )
        check_replicas(self.autoscaling, self.min_replicas, self.max_replicas)


def inference_service_spec(**given: Any) -> InferenceServiceSpec:
    """Make the specification of an InferenceService from what a step was given.

    Raises:
        ConfigurationError: A value is wrong; the message names the field.
    """
    return validated(
        InferenceServiceSpec,
        given,
        problem="The InferenceService is wrong",
        expected="the fields of stepworks.kube.builders.inference_service.InferenceServiceSpec",
        what_to_do="Correct the value; nothing was made.",
    )


def build_inference_service(spec: InferenceServiceSpec, *, name: str) -> Manifest:
    """Build the InferenceService; it outlives the run that makes it.

    Args:
        spec: What it serves and where.
        name: Its name.

    Raises:
        ConfigurationError: The name is not valid, KServe cannot read the model from where it is, or the placement
            cannot be applied.
    """
    check_name("InferenceService", name)
    source = for_kserve(spec.storage_uri)
    if source.endpoint and not (spec.storage_secret or spec.placement.service_account):
        annotations = " ".join(f"{key}={value}" for key, value in source.endpoint.annotations.items())
        raise ConfigurationError(
            "The model is in an S3 store of your own, and KServe is not told where that answers",
            received=spec.storage_uri,
            expected="storage_secret, the name of a Secret with keys and endpoint; or a ServiceAccount that has one",
            what_to_do="Make it: kubectl create secret generic model-store --from-literal=AWS_ACCESS_KEY_ID=… "
            "--from-literal=AWS_SECRET_ACCESS_KEY=… && kubectl annotate secret model-store " + annotations,
        )
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": name,
            "labels": {KEEP_LABEL: "true", **owner_settings(spec.placement).labels},
            "annotations": _annotations(spec),
        },
        "spec": {"predictor": _predictor(spec, source.uri)},
    }


def _annotations(spec: InferenceServiceSpec) -> dict[str, str]:
    told = {
        "deploymentMode": spec.mode,
        "autoscalerClass": _autoscaler_class(spec),
        "storageSecretName": spec.storage_secret,
        # KServe annotates the pods with the port of Knative's proxy. Standard mode has none: there the runtime's own
        # annotations say where Prometheus is to look.
        "enable-prometheus-scraping": "false" if spec.mode == "Standard" else "true",
    }
    return {**spec.annotations, **{f"serving.kserve.io/{key}": value for key, value in told.items() if value}}


def _autoscaler_class(spec: InferenceServiceSpec) -> str | None:
    """Who scales. With `external` KServe makes no scaler and leaves the number of pods alone; `none` would reset it."""
    if spec.autoscaling is None:
        return None
    return "hpa" if isinstance(spec.autoscaling, UtilizationScaling) else "external"


def _predictor(spec: InferenceServiceSpec, uri: str) -> Manifest:
    placement = with_sources(spec.placement, spec.secrets, spec.config_maps)
    placement = placement.model_copy(update={"timeout_seconds": None})  # of a task: a server is not ended
    template = placed_pod_template({"spec": {"containers": [_server(spec)]}}, placement, container=CONTAINER)
    pod = template["spec"]
    (server,) = pod.pop("containers")
    del server["name"]
    model = {"modelFormat": {"name": spec.model_format}, "protocolVersion": spec.protocol, "storageUri": uri, **server}
    if spec.runtime:
        model["runtime"] = spec.runtime
    optional: Manifest = {"containerConcurrency": spec.concurrency, "timeout": spec.timeout_seconds}
    if isinstance(spec.autoscaling, UtilizationScaling):
        optional |= {"scaleMetric": spec.autoscaling.kind, "scaleTarget": spec.autoscaling.target_percent}
    return {
        "minReplicas": spec.min_replicas,
        "maxReplicas": spec.max_replicas,
        **{key: value for key, value in optional.items() if value},
        **template.get("metadata", {}),
        **pod,
        "model": model,
    }


def _server(spec: InferenceServiceSpec) -> Manifest:
    server: Manifest = {"name": CONTAINER}
    if spec.arguments:
        server["args"] = list(spec.arguments)
    if spec.environment:
        server["env"] = [{"name": name, "value": value} for name, value in spec.environment.items()]
    return server
