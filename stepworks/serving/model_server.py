"""Serving a registered version by a plain Deployment and Service, on a cluster that need not have KServe."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import httpx

from stepworks.errors import ConfigurationError, NotFoundError, ServingError
from stepworks.kube.api.clock import Clock
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.builders.model_server import MODEL_PATH, ModelServerSpec, model_server_spec
from stepworks.kube.gateway_checks import refuse_route
from stepworks.kube.model_server import deploy_model_server
from stepworks.placement.storage import Mount, mount_of
from stepworks.registry.registry import RegisteredModel, Registry
from stepworks.report.documents import DeploymentDocument, VerdictDocument
from stepworks.serving.candidates import deployment_of, not_on_a_claim, override_annotations, stable_beside
from stepworks.serving.check import require_recorded_answers
from stepworks.serving.formats.kserve import served
from stepworks.serving.kserve.deploy import ServiceRequest
from stepworks.serving.kserve.traffic import without_splitter
from stepworks.serving.manifest import ONNXRUNTIME, Row, Samples, read_package, require_format
from stepworks.serving.package_client import PackageClient
from stepworks.settings_file import whole_numbers

ROUTED_SECONDS = 30.0
"""How long the nodes may take to send to a pod what its Service is sent, once the pod is ready."""
_PAUSE_SECONDS = 0.5
_PORT = 8080
_FIXED = {"image", "version", "model", "placement"}


def deploy_as_model_server(
    cluster: Cluster,
    model: RegisteredModel,
    verdict: VerdictDocument,
    registry: Registry,
    image: str,
    request: ServiceRequest,
    say: Callable[[str], None] = print,
) -> DeploymentDocument:
    """Serve a version under the model's name in the place of the one that serves, and make it the champion.

    Args:
        cluster: Where.
        model: The version.
        verdict: What the gate said of it.
        registry: The registry.
        image: The server's image.
        request: How it is to be served. Its `service` has fields of `ModelServerSpec`; with a `command` or
            `arguments` among them the image's server is another than ours.
        say: Is told each line of progress.

    Returns:
        Where the model is; there is no stable version beside it any more.

    Raises:
        ServingError: The verdict is not a pass; the champion takes other features; or the version answers otherwise
            than the trained model, and has been taken back then.
        ConfigurationError: Something cannot work, and nothing was made: a name, a setting, a registry on no claim.
        AlreadyExistsError: Clients of the model come by a Gateway; or as of `deploy_model_server`.
        StepworksError: As of `deploy_model_server`.
    """
    stable_beside(model, verdict, registry.champion(model.name))
    return serve_in_place(cluster, model, registry, image, request, say)


def serve_in_place(
    cluster: Cluster,
    model: RegisteredModel,
    registry: Registry,
    image: str,
    request: ServiceRequest,
    say: Callable[[str], None] = print,
) -> DeploymentDocument:
    """Serve a version as `deploy_as_model_server` does, whatever a gate said of it: a person has asked for it.

    Raises:
        StepworksError: As of `deploy_as_model_server`, but of a verdict.
    """
    spec = server_spec(model, image, request, name=model.name)
    refuse_route(cluster, model.name)
    url = deploy_model_server(
        cluster,
        spec,
        name=model.name,
        run=request.run,
        verify=partial(require_answers, registry, model.name, model.name, cluster.clock),
        scheduling_timeout=request.scheduling_seconds,
        say=say,
    )
    registry.make_champion(model.name, model.version)
    return deployment_of(model, url)


def server_spec(
    model: RegisteredModel, image: str, request: ServiceRequest, *, name: str, alias: str = ""
) -> ModelServerSpec:
    """What serves a version.

    Args:
        model: The version.
        image: The server's image.
        request: How it is to be served.
        name: The name by which our server is asked.
        alias: A second name; empty for none.

    Raises:
        ServingError: The package is changed, or is not for our server where nothing says what else serves it.
        ConfigurationError: A setting is wrong, or the registry is on no claim.
    """
    if fixed := sorted(_FIXED & set(request.service)):
        raise ConfigurationError(
            "The settings of the service name what the step decides itself",
            received=", ".join(fixed),
            expected="other fields of ModelServerSpec: replicas, service_type, port, environment, …",
            what_to_do="Leave them out; the model is that of the registry, and image and placement are parameters.",
        )
    given, manifest = {"port": _PORT, **whole_numbers(without_splitter(request.service))}, read_package(model.directory)
    if not {"command", "arguments"} & set(given):
        require_format(model.directory, manifest, ONNXRUNTIME, "serve by our own server, which no command replaces")
        given = {**_our_server(name, alias, given["port"]), **given}
    return model_server_spec(
        **{**given, "annotations": {**given.get("annotations", {}), **override_annotations(model)}},
        image=image,
        version=str(model.version),
        model=_mount(model.directory / served(manifest.format).folder, request.mounts),
        placement=request.placement,
    )


def _our_server(name: str, alias: str, port: Any) -> dict[str, Any]:
    """How the server of our image is started and asked; in-place updates keep the model's name in its paths."""
    options = {"model-directory": MODEL_PATH, "model-name": name, "host": "0.0.0.0", "port": port}  # noqa: S104  # of a pod
    if alias:
        options["alias"] = alias
    return {
        "command": ["python3", "-m", "stepworks.serving.server"],
        "arguments": [*(f"--{key}={value}" for key, value in options.items()), "--check-answers"],
        "readiness_path": f"/v2/models/{name}/ready",
        "liveness_path": "/v2/health/live",
        "metrics_path": "/metrics",
    }


def _mount(directory: Path, mounts: tuple[Mount, ...]) -> Mount:
    """A folder of the registry's claim, which is all that the server sees of it."""
    folder = PurePosixPath(directory)
    claim = mount_of(folder, mounts)
    if claim is None:
        raise not_on_a_claim(str(folder), mounts)
    inside = str(PurePosixPath(claim.sub_path) / folder.relative_to(claim.mount_path))
    return claim.model_copy(update={"mount_path": MODEL_PATH, "sub_path": inside, "read_only": True})


def require_answers(registry: Registry, model: str, name: str, clock: Clock, url: str, version: str) -> None:
    """Ask a version for its recorded rows.

    Args:
        registry: Has its package.
        model: The model's name.
        name: The name by which its server is asked.
        clock: The time.
        url: The server's address.
        version: The version.

    Raises:
        ServingError: It does not answer, or otherwise than the trained model.
        NotFoundError: The registry has no such version.
    """
    if not version.isdecimal():
        raise NotFoundError(
            f"The version that served before is none of the registry's models {model}",
            received=version,
            expected="the number of a version",
            what_to_do="Ask it yourself whether it answers rightly.",
        )
    package = registry.get(model, int(version)).directory
    manifest, samples = read_package(package), Samples.read(package)
    way = served(manifest.format)
    with PackageClient(url, name, model, way, manifest, samples) as client:
        _wait_until_reached(client, samples.rows[:1], clock)
        require_recorded_answers(client, samples, way.tolerance, way.excused)


def _wait_until_reached(client: PackageClient, rows: list[Row], clock: Clock) -> None:
    """Return when the model's address leads to a server; nodes hear of a new Service or pod a moment later."""
    deadline = clock.now() + ROUTED_SECONDS
    while True:
        try:
            client.send(rows)
        except ServingError as error:
            if not isinstance(error.__cause__, httpx.TransportError) or clock.now() >= deadline:
                raise
        else:
            return
        clock.sleep(_PAUSE_SECONDS)
