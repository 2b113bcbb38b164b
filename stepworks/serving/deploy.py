"""Putting a registered version beside the one that serves, with no traffic yet."""

from __future__ import annotations

import contextlib
from pathlib import Path

from stepworks.errors import NotFoundError, ServingError
from stepworks.registry.admission import require_pass
from stepworks.registry.registry import RegisteredModel
from stepworks.report.documents import CanaryDocument, DeploymentDocument, VerdictDocument
from stepworks.serving.client import ask
from stepworks.serving.launch import ServerPlan, start_servers, start_split
from stepworks.serving.manifest import Samples, read_package
from stepworks.serving.rollout.judge import Judge, ThresholdJudge
from stepworks.serving.rollout.local import LocalArm, LocalBackend
from stepworks.serving.rollout.policy import RolloutPolicy
from stepworks.serving.rollout.probes import HttpProber, read_probes
from stepworks.serving.rollout.rollout import roll_out
from stepworks.serving.split_admin import SplitSettings, change_split, read_split
from stepworks.supervisor.client import SupervisorClient
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
    manager: ProcessManager | None = None,
) -> DeploymentDocument:
    """Start a candidate's server beside the champion's, behind a split that gives it no traffic.

    The service is named as the model. A server that already runs with the same package is adopted, so the step
    can be retried.

    Args:
        candidate: The version to deploy.
        verdict: What the gate said of it.
        champion: The version that serves; missing when there is none. One that is the candidate itself counts
            as none.
        manager: Owns the processes; by default the supervisor of this run.

    Returns:
        Where the service is.

    Raises:
        ServingError: The verdict is not a pass; there is no supervisor; the champion takes other features; a
            server does not start. The candidate's server has ended then.
        ResourceError: A process cannot be started.
    """
    require_pass(verdict, "deploy the model", ServingError)
    manager = manager or _supervisor_of_this_run()
    stable = champion if champion is not None and champion.version != candidate.version else None
    _require_same_signature(candidate, stable)
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
        stable_url = None if stable is None else urls[plans[str(stable.version)].process]
        change_split(url, SplitSettings(stable=stable_url, candidate=urls[candidate_plan.process]))
    except BaseException:
        with contextlib.suppress(NotFoundError):
            manager.stop(candidate_plan.process)
        raise
    return DeploymentDocument(
        service=service,
        url=url,
        stable_version=None if stable is None else str(stable.version),
        candidate_version=str(candidate.version),
        model_directory=str(candidate.directory),
    )


def roll_out_deployment(
    deployment: DeploymentDocument,
    package: Path,
    stable_package: Path | None,
    manager: ProcessManager | None = None,
    *,
    judge: Judge | None = None,
    policy: RolloutPolicy | None = None,
) -> CanaryDocument:
    """Roll out what `deploy` deployed.

    Args:
        deployment: Where the service is.
        package: The candidate's package; its recorded samples are sent.
        stable_package: The package of the stable version; missing when there is none.
        manager: Owns the processes; by default the supervisor of this run.
        judge: Decides after each stage; a `ThresholdJudge` by default.
        policy: The stages; those of `RolloutPolicy` by default.

    Returns:
        The roll-out's course; its outcome may be a roll-back.

    Raises:
        ServingError: There is no supervisor, or the service does not answer; it has been rolled back then.
    """
    manager = manager or _supervisor_of_this_run()
    settings = read_split(deployment.url).settings
    if settings.candidate is None:
        raise ServingError(
            f"The service {deployment.service} has no candidate to roll out",
            received=f"version {deployment.candidate_version} was promoted or rolled back before",
            what_to_do="Deploy the version again.",
        )
    stable = None
    if deployment.stable_version is not None and settings.stable is not None:
        process = server_process(deployment.service, deployment.stable_version)
        stable = LocalArm(deployment.stable_version, process, settings.stable)
    candidate = LocalArm(
        deployment.candidate_version,
        server_process(deployment.service, deployment.candidate_version),
        settings.candidate,
    )
    backend = LocalBackend(manager, deployment.service, deployment.url, stable, candidate)
    probes = read_probes(package, stable_package)
    with HttpProber(deployment.url, deployment.service, probes) as prober:
        return roll_out(backend, judge or ThresholdJudge(), policy or RolloutPolicy(), prober)


def require_same_package(package: Path, registered: RegisteredModel) -> None:
    """Refuse a registered version that is not the package of this run.

    Raises:
        NotFoundError: There is no package.
        ServingError: The digests differ.
    """
    digest = read_package(package).digest
    if digest != registered.digest:
        raise ServingError(
            f"Version {registered.version} of {registered.name} is not the package of this run",
            received=f"the digest {registered.digest} in the registry",
            expected=digest,
            what_to_do="Register the package of this run, and deploy that version.",
        )


def require_promotion(document: CanaryDocument) -> None:
    """Refuse to go on after a roll-out that did not promote.

    Raises:
        ServingError: The candidate was rolled back, or held for lack of data.
    """
    if document.outcome != "promoted":
        stable = document.stable_version
        serves = "No version serves." if stable is None else f"Version {stable} serves as before."
        raise ServingError(
            f"Version {document.candidate_version} of {document.service} was not promoted",
            received=f"{document.outcome} at {document.stages[-1].percent} % of the traffic: {document.reason}",
            expected="every stage of the roll-out passed",
            what_to_do=f"Read the canary's course in the report. {serves}",
        )


def _supervisor_of_this_run() -> ProcessManager:
    manager = SupervisorClient.from_environment()
    if manager is None:
        raise ServingError(
            "This version of Stepworks deploys on a laptop only",
            received="a step without a supervisor, as in a cluster",
            expected="a step of `stepworks run`",
            what_to_do="In a cluster, apply a KServe InferenceService by hand: storageUri is the registered package "
            "(the uri of the registration), modelFormat onnx, protocolVersion v2.",
        )
    return manager


def _require_same_signature(candidate: RegisteredModel, stable: RegisteredModel | None) -> None:
    inputs = read_package(candidate.directory).inputs
    served = inputs if stable is None else read_package(stable.directory).inputs
    if {(each.name, each.datatype) for each in inputs} != {(each.name, each.datatype) for each in served}:
        raise ServingError(
            f"Version {candidate.version} of {candidate.name} takes other features than the version that serves",
            received=", ".join(sorted(each.name for each in inputs)),
            expected=", ".join(sorted(each.name for each in served)),
            what_to_do="Register it under a name of its own: callers of the service send the features it has now.",
        )
