"""Deploying a packaged model on Vertex AI: upload it, make or find the endpoint, give it a machine and traffic."""

from __future__ import annotations

from typing import Any

from kfp import dsl

from stepworks.errors import ConfigurationError
from stepworks.kubeflow.pipeline import current_target
from stepworks.kubeflow.place import place
from stepworks.kubeflow.task_settings import set_cache_and_retry
from stepworks.kubeflow.vertex.extra import require_installed
from stepworks.kubeflow.vertex.serve import MODEL_NAME
from stepworks.placement.placement import Placement
from stepworks.placement.target import Target
from stepworks.placement.vertex import Endpoint, VertexSettings

_SERVE = "stepworks.kubeflow.vertex.serve"


def deploy_on_vertex(
    package: Any, name: str, *, after: dsl.PipelineTask, role: str = "small", machine: str = "serving"
) -> None:
    """Deploy a packaged model to an endpoint of Vertex AI.

    The target says which endpoint (`endpoint:`), how its traffic is split, and what runs the model (the placement of
    the role `machine`). Vertex needs the model as its own kind of artifact, with the container that serves it; the
    endpoint's requests reach that container as they are (`rawPredict`), in the Open Inference Protocol.

    Args:
        package: The output `package` of package_model.
        name: The model's name in Vertex's model registry, and the endpoint's; may be a parameter of the pipeline.
        after: The task that must have succeeded before: the one that registers the model, which the gate can refuse.
        role: What the step that finds the package needs, as targets name it.
        machine: What the model is served by, as targets name it.

    Raises:
        ConfigurationError: The pipeline is not being built for Vertex AI, the role's placement has no machine, or
            google-cloud-pipeline-components is not installed.
    """
    target = _target()
    placement = target.placement(machine)
    vertex = _machine(placement, target, machine)
    require_installed()
    from google_cloud_pipeline_components import _placeholders
    from google_cloud_pipeline_components.types.artifact_types import UnmanagedContainerModel
    from google_cloud_pipeline_components.v1.endpoint import ModelDeployOp
    from google_cloud_pipeline_components.v1.model import ModelUploadOp

    from stepworks.kubeflow.vertex.locate_artifact import locate_artifact

    located = place(locate_artifact(artifact=package), role).after(after)
    model = dsl.importer(
        artifact_uri=located.output,
        artifact_class=UnmanagedContainerModel,
        metadata={"containerSpec": container_spec(target.image("serving"))},
    )
    uploaded = ModelUploadOp(
        display_name=name,
        unmanaged_container_model=model.output,
        location=_placeholders.LOCATION_PLACEHOLDER,
    )
    accelerator = placement.accelerator
    deployed = ModelDeployOp(
        model=uploaded.outputs["model"],
        endpoint=_endpoint(target.endpoint, name, placement, after),
        traffic_split={model_id: str(percent) for model_id, percent in target.endpoint.split.items()},
        dedicated_resources_machine_type=vertex.machine_type,
        dedicated_resources_min_replica_count=target.endpoint.minimum_replicas,
        dedicated_resources_max_replica_count=target.endpoint.maximum_replicas,
        dedicated_resources_accelerator_type=vertex.accelerator_type or "",
        dedicated_resources_accelerator_count=accelerator.count if accelerator else 0,
        service_account=vertex.service_account or "",
    )
    for task in (uploaded, deployed):
        set_cache_and_retry(task, placement)


def container_spec(image: str) -> dict[str, Any]:
    """What Vertex runs to serve a package: `ModelContainerSpec` in the form of JSON.

    The port is Vertex's own choice, which it tells the container.
    """
    return {
        "imageUri": image,
        "command": ["python", "-m", _SERVE],
        "healthRoute": "/v2/health/ready",
        "predictRoute": f"/v2/models/{MODEL_NAME}/infer",
    }


def _endpoint(endpoint: Endpoint, name: str, placement: Placement, after: dsl.PipelineTask) -> Any:
    """The endpoint as an artifact: one that exists, or one that a task makes."""
    from google_cloud_pipeline_components import _placeholders
    from google_cloud_pipeline_components.types.artifact_types import VertexEndpoint
    from google_cloud_pipeline_components.v1.endpoint import EndpointCreateOp

    if endpoint.name:
        location = endpoint.name.split("/")[3]
        return dsl.importer(
            artifact_uri=f"https://{location}-aiplatform.googleapis.com/v1/{endpoint.name}",
            artifact_class=VertexEndpoint,
            metadata={"resourceName": endpoint.name},
        ).output
    created = EndpointCreateOp(display_name=name, location=_placeholders.LOCATION_PLACEHOLDER).after(after)
    set_cache_and_retry(created, placement)
    return created.outputs["endpoint"]


def _target() -> Target:
    target = current_target()
    if target is None or target.backend != "vertex":
        raise ConfigurationError(
            "A model is deployed on Vertex AI by a pipeline for Vertex AI",
            received=f"the target {target.name}" if target else "a run on this machine",
            expected="a target with backend: vertex",
            what_to_do="Call deploy_on_vertex within `if on_vertex():`",
        )
    return target


def _machine(placement: Placement, target: Target, role: str) -> VertexSettings:
    unmet = [name for name in ("timeout_seconds", "labels", "preemptible") if getattr(placement, name)]
    if placement.vertex is None or unmet:
        raise ConfigurationError(
            f"The role {role} of the target {target.name} is no machine that an endpoint of Vertex AI can have",
            received=", ".join(unmet) or "no vertex.machine_type",
            expected="vertex.machine_type, and none of timeout_seconds, labels and preemptible",
            what_to_do=f"Correct the placement {target.roles[role]} in targets/{target.name}.yaml.",
        )
    return placement.vertex
