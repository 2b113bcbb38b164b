"""Putting a registered version beside the one that serves on a cluster, with no traffic yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from stepworks.artifact_uri import in_claim
from stepworks.errors import AlreadyExistsError, ConfigurationError, ServingError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.references import reference_to
from stepworks.kube.builders.inference_service import InferenceServiceSpec, inference_service_spec
from stepworks.kube.builders.routes import Routes
from stepworks.kube.kinds.manifests import Manifest
from stepworks.kube.model_service import READY_SECONDS, deploy_inference_service, wait_until_serving
from stepworks.kube.model_traffic import ModelTraffic
from stepworks.kube.runs.interrupts import cleaning_up_at_signals
from stepworks.kube.runs.lifetime import SCHEDULING_SECONDS
from stepworks.placement.placement import Placement
from stepworks.placement.storage import Mount
from stepworks.registry.registry import RegisteredModel
from stepworks.report.documents import DeploymentDocument, VerdictDocument
from stepworks.report.traffic_splitter import TrafficSplitter
from stepworks.serving.candidates import deployment_of, not_on_a_claim, override_annotations, stable_beside
from stepworks.serving.check import require_recorded_answers
from stepworks.serving.formats.kserve import Served, served
from stepworks.serving.kserve.traffic import model_traffic, splitter_of, without_splitter
from stepworks.serving.kserve.versions import (
    ServedVersion,
    end_version,
    find_version,
    served_version,
    version_name,
    version_reference,
)
from stepworks.serving.manifest import Samples, read_package
from stepworks.settings_file import whole_numbers

_FIXED = {"storage_uri", "model_format", "protocol", "placement"}


@dataclass(frozen=True)
class ServiceRequest:
    """How the versions of a model are to be served.

    Attributes:
        run: The run's id.
        placement: Where the pods of a version run.
        mounts: The claims of the cluster by the paths that this step knows them by; the registry is on one.
        service: Fields of `InferenceServiceSpec` beside the model and the placement: `max_replicas`; or `runtime`, for
            another one than the first that serves the package's format; or those of a
            `TrafficSplitter`.
        ready_seconds: How long a version may take to be ready.
        scheduling_seconds: How long its pods may wait for room.
    """

    run: str
    placement: Placement
    mounts: tuple[Mount, ...]
    service: Mapping[str, Any] = field(default_factory=dict)
    ready_seconds: float = READY_SECONDS
    scheduling_seconds: float = SCHEDULING_SECONDS

    @property
    def splitter(self) -> TrafficSplitter:
        """What is to split the traffic of the model.

        Raises:
            ConfigurationError: The service names it wrongly.
        """
        return splitter_of(self.service)


def deploy_on_kserve(
    cluster: Cluster,
    candidate: RegisteredModel,
    verdict: VerdictDocument,
    champion: RegisteredModel | None,
    request: ServiceRequest,
    say: Callable[[str], None] = print,
) -> DeploymentDocument:
    """Deploy a candidate beside the champion, as an InferenceService that gets no traffic yet.

    It is deployed when it answers the package's recorded rows as its trained model did. The champion is deployed, too,
    where the cluster has it not, and gets all traffic of the model. A retried step takes up what it made; a candidate
    that was promoted before goes on serving.

    Args:
        cluster: Where.
        candidate: The version to deploy.
        verdict: What the gate said of it.
        champion: The version that serves; missing when there is none. One that is the candidate itself counts as none.
        request: How it is to be served.
        say: Is told each line of progress.

    Returns:
        Where the model is.

    Raises:
        ServingError: The verdict is not a pass; the champion takes other features; or the version answers otherwise
            than the trained model, and has been taken away then.
        ConfigurationError: Something cannot work, and nothing was made: a name, a setting, a registry on no claim.
        StepworksError: As of `deploy_inference_service`.
    """
    stable = stable_beside(candidate, verdict, champion)
    for model in (candidate, stable):
        if model is not None:
            service_spec(model, request)  # refuses what cannot work, before anything is made
    if warning := _way(candidate, request).warning:
        say(warning)
    traffic = model_traffic(cluster, candidate.name, request.splitter, say=say)
    traffic.check()
    present = traffic.routes()
    if stable is not None:
        serving = present_version(cluster, stable, say)
        if serving is None:
            say(f"Version {stable.version} of {stable.name} serves by the registry, and the cluster has it not.")
            serving = _deploy(cluster, stable, request, say)
        served_stable = served_version(stable.version, serving, stable.directory)
        require_shared_path(served_stable, request.splitter)
        if present is None:
            traffic.send(Routes(served_stable.route))
    elif present is not None:
        require_champion(candidate, present)
    deployed_version(cluster, candidate, request, traffic, say)
    return deployment_of(candidate, traffic.url, stable, splitter=request.splitter)


def present_version(cluster: Cluster, model: RegisteredModel, say: Callable[[str], None]) -> Manifest | None:
    """The InferenceService of a version as it is, once it serves; None where there is none.

    Raises:
        WorkloadFailedError: It does not serve; it is left as it is.
        ClusterError: The API server fails or does not answer.
    """
    if find_version(cluster, model.name, model.version) is None:
        return None
    return wait_until_serving(cluster, version_reference(cluster, model.name, model.version), say=say)


def deployed_version(
    cluster: Cluster,
    model: RegisteredModel,
    request: ServiceRequest,
    traffic: ModelTraffic,
    say: Callable[[str], None],
) -> Manifest:
    """Deploy a version, and have it answer its recorded rows; one that answers otherwise is taken away.

    A version that has traffic already is neither changed nor taken away, whatever it answers.

    Args:
        cluster: Where.
        model: The version.
        request: How it is to be served.
        traffic: The traffic of the model.
        say: Is told each line of progress.

    Returns:
        Its InferenceService.

    Raises:
        ServingError: It does not answer, or otherwise than the trained model.
        StepworksError: As of `deploy_inference_service`.
    """
    name = version_name(model.name, model.version)
    present = present_version(cluster, model, say) if name in asked(traffic.routes()) else None
    deployed = present or _deploy(cluster, model, request, say)

    def take_away() -> None:
        if name not in asked(traffic.routes()):
            end_version(cluster, model.name, model.version)

    with cleaning_up_at_signals(take_away):
        try:
            _require_recorded_answers(model, deployed)
        except BaseException:
            take_away()
            raise
    return deployed


def require_shared_path(version: ServedVersion, splitter: TrafficSplitter) -> None:
    """Refuse a version that a Gateway cannot send the requests of clients to: it is asked by its own name only.

    Raises:
        AlreadyExistsError: It is there, deployed without a Gateway.
    """
    if not splitter.gateway or version.is_shared:
        return
    reference = reference_to(version.service)
    raise AlreadyExistsError(
        f"Behind a Gateway {version.name} would not be found: it was deployed without one",
        received=f"a server that is asked at {version.path} only",
        expected=f"one that is asked at {version.shared_path}, as every version of {version.model} is",
        what_to_do="Deploy without gateway and host; or, once no client asks it any more, delete it, and it is made "
        f"anew: {reference.kubectl('delete')}",
    )


def asked(routes: Routes | None) -> set[str]:
    """The names of the versions that get requests."""
    return set() if routes is None else {route.name for route, _ in routes.asked}


def require_champion(candidate: RegisteredModel, routes: Routes) -> None:
    """Refuse to replace versions that serve and of which the registry knows nothing.

    Raises:
        ServingError: Another version than the candidate gets requests, and none is the champion.
    """
    others = asked(routes) - {version_name(candidate.name, candidate.version)}
    if others:
        raise ServingError(
            f"The registry has no champion of {candidate.name}, and the cluster serves one",
            received=f"traffic that goes to {', '.join(sorted(others))}",
            expected="a champion, beside which the candidate is tried",
            what_to_do="Make the version that serves the champion: run the step serve_version with its number.",
        )


def _way(model: RegisteredModel, request: ServiceRequest) -> Served:
    return served(read_package(model.directory).format, str(request.service.get("runtime", "")))


def service_spec(model: RegisteredModel, request: ServiceRequest) -> InferenceServiceSpec:
    """What a version is served with, and where.

    Raises:
        ConfigurationError: A setting or a name is wrong, or the registry is on no claim.
    """
    if fixed := sorted(_FIXED & set(request.service)):
        raise ConfigurationError(
            "The settings of the service name what the step decides itself",
            received=", ".join(fixed),
            expected="other fields of InferenceServiceSpec: runtime, min_replicas, max_replicas, environment, …",
            what_to_do="Leave them out; the model is that of the registry, and the placement has a parameter.",
        )
    version_name(model.name, model.version)
    uri = in_claim(model.directory, request.mounts)
    if not uri:
        raise not_on_a_claim(str(model.directory), request.mounts)
    way = _way(model, request)
    shared = way.sharing(model.name) if request.splitter.gateway else ((), {})
    given = whole_numbers(without_splitter(request.service))
    return inference_service_spec(
        **{
            **given,
            "runtime": way.runtime,
            "arguments": [*way.arguments_for(model.name), *shared[0], *given.get("arguments", ())],
            "environment": {**way.environment, **shared[1], **given.get("environment", {})},
            "annotations": {**given.get("annotations", {}), **override_annotations(model)},
        },
        storage_uri=way.storage_uri(uri),
        model_format=way.model_format,
        protocol=way.protocol,
        mode=request.splitter.mode,
        placement=request.placement,
    )


def _deploy(
    cluster: Cluster,
    model: RegisteredModel,
    request: ServiceRequest,
    say: Callable[[str], None],
) -> Manifest:
    return deploy_inference_service(
        cluster,
        service_spec(model, request),
        name=version_name(model.name, model.version),
        run=request.run,
        timeout=request.ready_seconds,
        scheduling_timeout=request.scheduling_seconds,
        say=say,
    )


def _require_recorded_answers(candidate: RegisteredModel, deployed: Manifest) -> None:
    """Ask the version for its recorded rows; these are the first requests, whose slowness is not the canary's."""
    version = served_version(candidate.version, deployed, candidate.directory)
    with version.client() as client:
        require_recorded_answers(client, Samples.read(candidate.directory), version.way.tolerance, version.way.excused)
