"""What the steps of serving do, on a laptop and on a cluster."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stepworks.errors import ConfigurationError
from stepworks.kube.api.cluster import connect
from stepworks.placement.pod_placement import PodPlacement
from stepworks.registry.registry import RegisteredModel, Registry
from stepworks.report.canary_document import CanaryDocument
from stepworks.report.documents import DeploymentDocument, RegistrationDocument, VerdictDocument
from stepworks.report.page import write_page
from stepworks.serving.candidates import require_same_package, stable_beside
from stepworks.serving.deploy import deploy
from stepworks.serving.knative.clients import clients_on_knative
from stepworks.serving.knative.deploy import deploy_on_knative
from stepworks.serving.knative.roll_out import roll_out_on_knative
from stepworks.serving.knative.serve import serve_version_on_knative
from stepworks.serving.kserve.clients import clients_on_kserve
from stepworks.serving.kserve.deploy import ServiceRequest, deploy_on_kserve
from stepworks.serving.kserve.roll_out import roll_out_on_kserve
from stepworks.serving.kserve.serve import serve_version_on_kserve
from stepworks.serving.kserve.traffic import splitter_of
from stepworks.serving.model_server import deploy_as_model_server, serve_in_place
from stepworks.serving.model_server_canary import deploy_model_server_beside, serve_version_beside
from stepworks.serving.rollout.deployment import require_promotion, roll_out_deployment
from stepworks.serving.rollout.policy import LAPTOP, RolloutPolicy
from stepworks.serving.rollout.prometheus import prometheus_source
from stepworks.serving.serve_version import serve_version
from stepworks.serving.shadow import ShadowSettings, local_clients, require_alike, shadow
from stepworks.settings_file import validated, whole_numbers
from stepworks.supervisor.client import SupervisorClient

# The executor of Kubeflow Pipelines lets everything speak, and this one would say a line a request.
logging.getLogger("httpx").setLevel(logging.WARNING)


def deploy_version(
    package: str,
    verdict: str,
    registration: str,
    registry: str,
    *,
    run: str,
    placement: Mapping[str, Any],
    service: Mapping[str, Any],
) -> DeploymentDocument:
    """Deploy a registered version beside the champion: under the supervisor of a local run, or else by KServe.

    Args:
        package: The package's folder; what is served is the registry's copy of it.
        verdict: The file of the gate's verdict.
        registration: The file that says which version.
        registry: The registry's folder.
        run: The run's id; for KServe only, as what follows.
        placement: Where the pods of a version run, as `PodPlacement` writes it, with the registry among its mounts.
        service: Fields of `InferenceServiceSpec`.

    Raises:
        StepworksError: As of `deploy` and `deploy_on_kserve`.
    """
    models = Registry(registry)
    candidate = _registered(package, registration, models)
    judged, champion = VerdictDocument.read(verdict), models.champion(candidate.name)
    if manager := SupervisorClient.from_environment():
        return deploy(candidate, judged, champion, manager)
    request = _request(run, placement, service)
    deploy_there = deploy_on_knative if request.splitter.on_knative else deploy_on_kserve
    return deploy_there(connect(), candidate, judged, champion, request)


def serve_registered(
    name: str,
    version: int,
    registry: str,
    *,
    run: str,
    image: str,
    placement: Mapping[str, Any],
    service: Mapping[str, Any],
) -> DeploymentDocument:
    """Give all traffic of a model to a registered version: under the supervisor of a local run, or else in a cluster.

    Args:
        name: The model's name.
        version: The version.
        registry: The registry's folder.
        run: The run's id; for a cluster only, as what follows.
        image: The image of a plain Deployment's server; empty where KServe serves the model.
        placement: As of `deploy_version`.
        service: As of `deploy_version`; with an image as of `deploy_server`.

    Raises:
        NotFoundError: The registry has no such version.
        ConfigurationError: With an image the service has a mode, as of KServe.
        StepworksError: As of `serve_version`, `serve_version_on_kserve`, `serve_version_on_knative`,
            `serve_version_beside` and `serve_in_place`.
    """
    if image:
        _refuse_mode(service)
    models = Registry(registry)
    model = models.get(name, version)
    if manager := SupervisorClient.from_environment():
        return serve_version(model, models, manager)
    request = _request(run, placement, service)
    if image:
        serve_it = serve_version_beside if request.splitter.gateway else serve_in_place
        return serve_it(connect(), model, models, image, request)
    serve_there = serve_version_on_knative if request.splitter.on_knative else serve_version_on_kserve
    return serve_there(connect(), model, models, request)


def deploy_server(
    package: str,
    verdict: str,
    registration: str,
    registry: str,
    *,
    run: str,
    image: str,
    placement: Mapping[str, Any],
    service: Mapping[str, Any],
) -> DeploymentDocument:
    """Serve a version in the place of the one before: under the supervisor of a local run, or else by a Deployment.

    Where the service names a Gateway, it is put beside the one before instead, with no traffic yet.

    Args:
        package: The package's folder; what is served is the registry's copy of it.
        verdict: The file of the gate's verdict.
        registration: The file that says which version.
        registry: The registry's folder.
        run: The run's id; for a cluster only, as what follows.
        image: The server's image.
        placement: As of `deploy_version`.
        service: Fields of `ModelServerSpec`, and of `TrafficSplitter`.

    Raises:
        ConfigurationError: The service has a mode, as of KServe.
        StepworksError: As of `serve_version`, `deploy_as_model_server` and `deploy_model_server_beside`.
    """
    _refuse_mode(service)
    models = Registry(registry)
    model = _registered(package, registration, models)
    judged = VerdictDocument.read(verdict)
    beside = bool(splitter_of(service).gateway)
    if manager := SupervisorClient.from_environment():
        if beside:
            return deploy(model, judged, models.champion(model.name), manager)
        stable_beside(model, judged, models.champion(model.name))
        return serve_version(model, models, manager)
    deploy_it = deploy_model_server_beside if beside else deploy_as_model_server
    return deploy_it(connect(), model, judged, models, image, _request(run, placement, service))


def _refuse_mode(service: Mapping[str, Any]) -> None:
    if "mode" in service:
        raise ConfigurationError(
            "A model server without KServe has no mode",
            received=f"mode: {service['mode']}",
            expected="gateway and host, or neither",
            what_to_do="Leave it out; or serve the model by KServe, with the step deploy.",
        )


def _registered(package: str, registration: str, models: Registry) -> RegisteredModel:
    """The version of this run, which is the package that it was registered from."""
    registered = RegistrationDocument.read(registration)
    model = models.get(registered.name, registered.version)
    require_same_package(Path(package), model)
    return model


def _request(run: str, placement: Mapping[str, Any], service: Mapping[str, Any]) -> ServiceRequest:
    pods = PodPlacement.from_json(placement) if placement else None
    if pods is None or pods.placement is None:
        raise ConfigurationError(
            "Where the model server is to run is not known",
            received=f"placement={dict(placement)}",
            expected="a placement for the pods of the model server, resolved for a target",
            what_to_do="In the pipeline: placement=placement_of('serving', mounts=['registry']).",
        )
    return ServiceRequest(run, pods.placement, pods.mounts_of(run), service)


def compare_versions(
    deployment: str,
    requests: str,
    registry: str,
    *,
    settings: Mapping[str, Any],
    comparison: str,
    page: str,
) -> None:
    """Compare the answers of what `deploy_version` deployed with those of the version that serves.

    Args:
        deployment: The file that says where the service is.
        requests: A table of requests.
        registry: The registry's folder.
        settings: Fields of `ShadowSettings`.
        comparison: Where what was found is written.
        page: The same as a page. Both are written before a refusal, too.

    Raises:
        ServingError: The answers differ, or a version is not there.
        NotFoundError: The registry lacks a version, or there is no table.
        DataError: The table lacks a feature, or has no rows.
        ConfigurationError: A setting is wrong.
    """
    chosen = validated(
        ShadowSettings,
        whole_numbers(settings),
        problem="The settings of the comparison are wrong",
        expected="the fields of stepworks.serving.shadow.ShadowSettings",
        what_to_do="Correct the value.",
    )
    deployed, models = DeploymentDocument.read(deployment), Registry(registry)
    if manager := SupervisorClient.from_environment():
        connected = local_clients(manager, deployed, models)
    else:
        clients_there = clients_on_knative if deployed.splitter.on_knative else clients_on_kserve
        connected = clients_there(connect(), deployed, models)
    found = shadow(deployed, connected, models, Path(requests), chosen)
    found.write(comparison)
    write_page(page, f"Shadow comparison of {deployed.service}", found)
    require_alike(found, page)


def roll_out_version(
    package: str,
    deployment: str,
    registration: str,
    registry: str,
    *,
    policy: Mapping[str, Any],
    metrics: Mapping[str, Any],
    canary: str,
    page: str,
) -> None:
    """Roll out what `deploy_version` deployed, where it did.

    Args:
        package: The package's folder; its recorded samples are sent.
        deployment: The file that says where the service is.
        registration: The file that says which version.
        registry: The registry's folder.
        policy: Fields of `RolloutPolicy`. What is left out is that of a laptop, or else of a cluster.
        metrics: Fields of `PrometheusSource`; empty where nothing counts the requests. For a cluster only.
        canary: Where the course of the roll-out is written.
        page: The same as a page. Both are written on a roll-back, too, and beside the version in the registry.

    Raises:
        ServingError: The version was not promoted.
        ConfigurationError: The policy or the metrics are wrong; nothing was changed.
        StepworksError: As of `roll_out_deployment` and `roll_out_on_kserve`.
    """
    document = _roll_out(package, deployment, registration, registry, policy, metrics)
    # Kubeflow keeps no outputs of a step that fails: the course of a roll-back is kept beside the version, too.
    kept = Registry(registry).get(document.service, int(document.candidate_version)).directory.parent
    for written, shown in ((canary, page), (kept / "canary.json", kept / "canary.html")):
        document.write(written)
        write_page(shown, f"Canary of {document.service}", document)
    require_promotion(document, kept / "canary.html")


def _roll_out(
    package: str,
    deployment: str,
    registration: str,
    registry: str,
    policy: Mapping[str, Any],
    metrics: Mapping[str, Any],
) -> CanaryDocument:
    deployed, registered = DeploymentDocument.read(deployment), RegistrationDocument.read(registration)
    if manager := SupervisorClient.from_environment():
        chosen = _policy({**LAPTOP.model_dump(), **policy, "approvals": ()})  # there is nobody to wait for
        return roll_out_deployment(deployed, Path(package), registered, registry, manager, policy=chosen)
    source = prometheus_source(metrics) if metrics else None
    roll_out_there = roll_out_on_knative if deployed.splitter.on_knative else roll_out_on_kserve
    return roll_out_there(
        connect(), deployed, Path(package), registered, registry, policy=_policy(policy), source=source
    )


def _policy(given: Mapping[str, Any]) -> RolloutPolicy:
    return validated(
        RolloutPolicy,
        given,
        problem="The policy of the roll-out is wrong",
        expected="the fields of stepworks.serving.rollout.policy.RolloutPolicy",
        what_to_do="Correct the value; no traffic was shifted.",
    )
