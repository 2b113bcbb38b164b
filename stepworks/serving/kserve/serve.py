"""Giving all traffic of a model to one version on a cluster, without a roll-out."""

from __future__ import annotations

from collections.abc import Callable

from stepworks.errors import ConfigurationError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.builders.routes import Routes
from stepworks.kube.model_traffic import ModelTraffic
from stepworks.registry.registry import RegisteredModel, Registry
from stepworks.report.documents import DeploymentDocument
from stepworks.serving.candidates import deployment_of
from stepworks.serving.kserve.deploy import (
    ServiceRequest,
    asked,
    deployed_version,
    present_version,
    require_shared_path,
)
from stepworks.serving.kserve.model_servers import ModelServers
from stepworks.serving.kserve.traffic import model_traffic
from stepworks.serving.kserve.versions import InferenceServices, Versions, served_version


def serve_version_on_kserve(
    cluster: Cluster,
    model: RegisteredModel,
    registry: Registry,
    request: ServiceRequest,
    say: Callable[[str], None] = print,
) -> DeploymentDocument:
    """Deploy a registered version, give it all traffic at once, and make it the champion; all other versions end.

    The version that serves goes on until the new one does. One that is there already is taken as it is; one that is
    made for this answers its recorded rows rightly first. The function can be called again after it was killed at any
    point.

    Args:
        cluster: Where.
        model: The version that is to serve.
        registry: The registry.
        request: How it is to be served.
        say: Is told each line of progress.

    Returns:
        Where the model is; there is no stable version beside it any more.

    Raises:
        ConfigurationError: Something cannot work, and nothing was made; or plain Deployments serve the model.
        StepworksError: As of `deploy_on_kserve` and `ModelTraffic.send`.
    """
    traffic = model_traffic(cluster, model.name, request.splitter, say=say)
    traffic.check()
    _refuse_model_servers(cluster, model.name, traffic.routes())
    service = present_version(cluster, model, say) or deployed_version(cluster, model, request, traffic, say)
    version = served_version(model.version, service, model.directory)
    require_shared_path(version, request.splitter)
    traffic.send(Routes(version.route))
    make_champion_alone(InferenceServices(cluster, model.name), registry, traffic, model.name, model.version, say)
    return deployment_of(model, traffic.url, splitter=request.splitter)


def _refuse_model_servers(cluster: Cluster, model: str, routes: Routes | None) -> None:
    """Refuse to put an InferenceService in the place of a plain Deployment because an image was forgotten.

    Raises:
        ConfigurationError: A version that gets requests is a plain Deployment.
        ClusterError: The API server refuses, fails or does not answer.
    """
    servers = ModelServers(cluster, model)
    plain = [name for name in sorted(asked(routes)) if servers.has(name.removeprefix(f"{model}-v"))]
    if plain:
        raise ConfigurationError(
            f"Plain Deployments serve {model}, and the version would be an InferenceService of KServe",
            received=f"traffic that goes to the Deployment {plain[0]}, and no image",
            expected="the image of the server, as of the step deploy_model_server",
            what_to_do="Give the step its image: image=image_of('serving').",
        )


def make_champion_alone(
    versions: Versions,
    registry: Registry,
    traffic: ModelTraffic,
    model: str,
    version: int,
    say: Callable[[str], None],
) -> None:
    """Make the version that has all traffic the champion, and end all others once no router asks them any more.

    Raises:
        NotFoundError: The registry has no such version.
        ResourceError: The alias cannot be written.
        ClusterError: The API server refuses, fails or does not answer.
    """
    registry.make_champion(model, version)
    versions.rest(version, say)
    traffic.drain()
    for other in versions.beside(version):
        if versions.end(other):
            say(f"Version {other} of {model} has ended.")
