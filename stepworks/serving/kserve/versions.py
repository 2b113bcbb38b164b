"""The versions of a model on a cluster: each an InferenceService of its own, and what they are called."""

from __future__ import annotations

from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import delete, find
from stepworks.kube.api.references import Reference, located
from stepworks.kube.builders.inference_graph import Route
from stepworks.kube.kinds.manifests import Manifest, annotations_of
from stepworks.kube.kinds.names import check_name
from stepworks.kube.model_service import address_of
from stepworks.kube.runs.retry_marker import is_marked

API_VERSION = "serving.kserve.io/v1beta1"
KIND = "InferenceService"
_STOP = "serving.kserve.io/stop"


def version_name(model: str, version: int | str) -> str:
    """The name of a version's InferenceService, by which its server knows the model, too.

    Raises:
        ConfigurationError: The model's name is too long for it, or has other characters.
    """
    return check_name(KIND, f"{model}-v{version}")


def version_reference(cluster: Cluster, model: str, version: int | str) -> Reference:
    """The InferenceService of a version.

    Raises:
        ConfigurationError: As of `version_name`.
    """
    return located(cluster, Reference(API_VERSION, KIND, version_name(model, version)))


def find_version(cluster: Cluster, model: str, version: int | str) -> Manifest | None:
    """The InferenceService of a version; None where it is not there, or was stopped.

    Raises:
        ClusterError: The API server refuses, fails or does not answer.
    """
    present = find(cluster, version_reference(cluster, model, version))
    stopped = present is not None and (annotations_of(present).get(_STOP) == "true" or is_marked(present))
    return None if stopped else present


def route_to(service: Manifest) -> Route:
    """How the router of a model knows one of its versions.

    Raises:
        ConfigurationError: It has no address, as before it is ready.
    """
    name = str(service["metadata"]["name"])
    return Route(name, f"{address_of(service).rstrip('/')}/v2/models/{name}/infer")


def end_version(cluster: Cluster, model: str, version: int | str) -> bool:
    """Delete a version's InferenceService; whether there was one.

    Raises:
        ClusterError: The API server refuses, fails or does not answer.
    """
    return delete(cluster, version_reference(cluster, model, version))
