"""Giving all traffic of a model to one version on a laptop, without a roll-out."""

from __future__ import annotations

import contextlib

from stepworks.errors import NotFoundError
from stepworks.registry.registry import RegisteredModel, Registry
from stepworks.report.documents import DeploymentDocument
from stepworks.serving.candidates import deployment_of
from stepworks.serving.check import require_recorded_answers
from stepworks.serving.client import V2Client
from stepworks.serving.deploy import server_process, split_process
from stepworks.serving.launch import ServerPlan, find_server, start_servers, start_split
from stepworks.serving.manifest import ONNXRUNTIME, Samples, read_package, require_format
from stepworks.serving.split_admin import SplitSettings, change_split
from stepworks.supervisor.processes import ProcessManager


def serve_version(model: RegisteredModel, registry: Registry, manager: ProcessManager) -> DeploymentDocument:
    """Start a registered version, give it all traffic at once, and make it the champion; all other servers end.

    The version that serves goes on until the new one answers its recorded rows rightly.

    Args:
        model: The version that is to serve.
        registry: The registry.
        manager: Owns the processes.

    Returns:
        Where the model is; there is no stable version beside it any more.

    Raises:
        ServingError: The package is for another server than ours; the server does not start, or answers otherwise than
            the trained model.
        ResourceError: A process cannot be started, or the alias cannot be written.
    """
    require_format(model.directory, read_package(model.directory), ONNXRUNTIME, "serve on this machine")
    service = model.name
    process = server_process(service, str(model.version))
    serves_already = find_server(manager, process) is not None
    try:
        address = start_servers(manager, [ServerPlan(process, model.directory, service)])[process]
        with V2Client(address, service) as client:
            require_recorded_answers(client, Samples.read(model.directory))
    except BaseException:
        if not serves_already:
            with contextlib.suppress(NotFoundError):
                manager.stop(process)
        raise
    url = start_split(manager, split_process(service))
    change_split(url, SplitSettings(stable=address))
    registry.make_champion(service, model.version)
    for other in manager.processes():
        if other.startswith(server_process(service, "")) and other != process:
            manager.stop(other)
    return deployment_of(model, url)
