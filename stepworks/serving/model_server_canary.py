"""Putting a registered version beside the one that serves, each by a Deployment of its own behind a Gateway."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from stepworks.errors import ServingError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.builders.model_server import ModelServerSpec
from stepworks.kube.builders.routes import Routes
from stepworks.kube.model_server import deploy_model_server
from stepworks.registry.registry import RegisteredModel, Registry
from stepworks.report.documents import DeploymentDocument, VerdictDocument
from stepworks.serving.candidates import deployment_of, stable_beside
from stepworks.serving.check import require_recorded_answers
from stepworks.serving.kserve.deploy import ServiceRequest, asked, require_champion
from stepworks.serving.kserve.model_servers import ModelServers
from stepworks.serving.kserve.serve import make_champion_alone
from stepworks.serving.kserve.traffic import model_traffic
from stepworks.serving.kserve.versions import ServedVersion, version_name
from stepworks.serving.manifest import Samples
from stepworks.serving.model_server import require_answers, server_spec


def deploy_model_server_beside(
    cluster: Cluster,
    candidate: RegisteredModel,
    verdict: VerdictDocument,
    registry: Registry,
    image: str,
    request: ServiceRequest,
    say: Callable[[str], None] = print,
) -> DeploymentDocument:
    """Deploy a candidate beside the champion, with no traffic yet; `roll_out_canary` goes on from there.

    It is deployed when it answers its recorded rows as its trained model did. The champion is deployed, too, where the
    cluster has it not by a Deployment of its own, and gets all traffic of the model's host. What serves under the
    model's name without a Gateway stays, and is of no matter. A retried step takes up what it made.

    Args:
        cluster: Where.
        candidate: The version to deploy.
        verdict: What the gate said of it.
        registry: The registry.
        image: The server's image.
        request: How it is to be served; its `service` names a Gateway, beside fields of `ModelServerSpec`.
        say: Is told each line of progress.

    Returns:
        Where the model is.

    Raises:
        ServingError: The verdict is not a pass; the champion takes other features; or a version answers otherwise than
            its trained model, and has been taken away then.
        ConfigurationError: Something cannot work, and nothing was made: a name, a setting, a registry on no claim.
        StepworksError: As of `ModelTraffic.check` and `deploy_model_server`.
    """
    model, stable = candidate.name, stable_beside(candidate, verdict, registry.champion(candidate.name))
    specs = {each.version: _spec(each, image, request) for each in (candidate, stable) if each is not None}
    traffic = model_traffic(cluster, model, request.splitter, say=say)
    traffic.check()
    versions, present = ModelServers(cluster, model), traffic.routes()

    def deployed(version: RegisteredModel) -> ServedVersion:
        return _deploy(cluster, version, specs[version.version], registry, request, say)

    if stable is not None:
        serving = versions.find(stable.version, stable.directory) or deployed(stable)
        if present is None:
            traffic.send(Routes(serving.route))
    elif present is not None:
        require_champion(candidate, present)
    if version_name(model, candidate.version) not in asked(traffic.routes()):  # one that has traffic stays as it is
        deployed(candidate)
    return deployment_of(candidate, traffic.url, stable, splitter=request.splitter, plain=True)


def serve_version_beside(
    cluster: Cluster,
    model: RegisteredModel,
    registry: Registry,
    image: str,
    request: ServiceRequest,
    say: Callable[[str], None] = print,
) -> DeploymentDocument:
    """Deploy a registered version, give it all traffic at once, and make it the champion; all other versions end.

    The version that serves goes on until the new one answers its recorded rows rightly; one that is there already is
    taken as it is, and has to answer, too. The function can be called again after it was killed at any point.

    Args:
        cluster: Where.
        model: The version that is to serve.
        registry: The registry.
        image: The server's image, for a version that is not there any more.
        request: How it is to be served; its `service` names a Gateway, beside fields of `ModelServerSpec`.
        say: Is told each line of progress.

    Returns:
        Where the model is; there is no stable version beside it any more.

    Raises:
        ServingError: The version does not answer, or otherwise than its trained model; the traffic goes on as before.
        ConfigurationError: Something cannot work, and nothing was made: a name, a setting, a registry on no claim.
        StepworksError: As of `ModelTraffic.check`, `deploy_model_server` and `ModelTraffic.send`.
    """
    spec = _spec(model, image, request)
    traffic = model_traffic(cluster, model.name, request.splitter, say=say)
    traffic.check()
    versions = ModelServers(cluster, model.name)
    version = versions.find(model.version, model.directory)
    if version is None:
        version = _deploy(cluster, model, spec, registry, request, say)
    else:
        with version.client() as client:
            samples = Samples.read(model.directory)
            require_recorded_answers(client, samples, version.way.tolerance, version.way.excused)
    traffic.send(Routes(version.route))
    make_champion_alone(versions, registry, traffic, model.name, model.version, say)
    return deployment_of(model, traffic.url, splitter=request.splitter, plain=True)


def _spec(model: RegisteredModel, image: str, request: ServiceRequest) -> ModelServerSpec:
    return server_spec(model, image, request, name=version_name(model.name, model.version), alias=model.name)


def _deploy(
    cluster: Cluster,
    model: RegisteredModel,
    spec: ModelServerSpec,
    registry: Registry,
    request: ServiceRequest,
    say: Callable[[str], None],
) -> ServedVersion:
    """Serve a version by a Deployment of its own, which answers rightly."""
    name = version_name(model.name, model.version)
    # A server that is not ours knows the model by its own name only.
    asked_as = model.name if {"command", "arguments"} & set(request.service) else name
    deploy_model_server(
        cluster,
        spec,
        name=name,
        run=request.run,
        verify=partial(require_answers, registry, model.name, asked_as, cluster.clock),
        scheduling_timeout=request.scheduling_seconds,
        say=say,
    )
    served = ModelServers(cluster, model.name).find(model.version, model.directory)
    if served is None:
        raise ServingError(
            f"Version {model.version} of {model.name} is gone",
            received=f"no Deployment {name}, which has answered rightly",
            expected="the version that this step has just deployed",
            what_to_do="Somebody has deleted it; run the step again.",
        )
    return served
