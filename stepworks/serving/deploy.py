"""Putting a registered version beside the one that serves, with no traffic yet."""

from __future__ import annotations

import contextlib

from stepworks.errors import NotFoundError
from stepworks.registry.registry import RegisteredModel
from stepworks.report.documents import DeploymentDocument, VerdictDocument
from stepworks.serving.candidates import deployment_of, stable_beside
from stepworks.serving.client import ask
from stepworks.serving.launch import ServerPlan, start_servers, start_split
from stepworks.serving.manifest import ONNXRUNTIME, Samples, read_package, require_format
from stepworks.serving.split_admin import SplitSettings, change_split, read_split
from stepworks.supervisor.processes import ProcessManager

_WARM_UP_ROWS = 10


def server_process(service: str, version: str) -> str:
    """The name of the process that serves a version of a service."""
    return f"{service}.v{version}"


def split_process(service: str) -> str:
    """The name of the process that splits a service's traffic."""
    return f"{service}.split"


def deploy(
    candidate: RegisteredModel,
    verdict: VerdictDocument,
    champion: RegisteredModel | None,
    manager: ProcessManager,
) -> DeploymentDocument:
    """Start a candidate's server beside the champion's, behind a split that gives it no traffic.

    The service is named as the model. A server that already runs with the same package is adopted, so the step
    can be retried; a candidate that was promoted before goes on serving.

    Args:
        candidate: The version to deploy.
        verdict: What the gate said of it.
        champion: The version that serves; missing when there is none. One that is the candidate itself counts
            as none.
        manager: Owns the processes.

    Returns:
        Where the service is.

    Raises:
        ServingError: The verdict is not a pass; the champion takes other features; a package is for another server than
            ours; a server does not start. The candidate's server has ended then.
        ResourceError: A process cannot be started.
    """
    stable = stable_beside(candidate, verdict, champion)
    for model in (candidate, *([stable] if stable else [])):
        require_format(model.directory, read_package(model.directory), ONNXRUNTIME, "serve on this machine")
    service = candidate.name
    plans = {
        str(model.version): ServerPlan(server_process(service, str(model.version)), model.directory, service)
        for model in (candidate, stable)
        if model is not None
    }
    candidate_plan = plans[str(candidate.version)]
    try:
        urls = start_servers(manager, list(plans.values()))
        # The first requests of a server are slow; they are not to be the canary's.
        ask(urls[candidate_plan.process], service, Samples.read(candidate.directory).rows[:_WARM_UP_ROWS])
        url = start_split(manager, split_process(service))
        candidate_url = urls[candidate_plan.process]
        stable_url = None if stable is None else urls[plans[str(stable.version)].process]
        # A version that was promoted before goes on serving.
        if read_split(url).settings.stable != candidate_url:
            change_split(url, SplitSettings(stable=stable_url, candidate=candidate_url))
    except BaseException:
        with contextlib.suppress(NotFoundError):
            manager.stop(candidate_plan.process)
        raise
    return deployment_of(candidate, url, stable)
