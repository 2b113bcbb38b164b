"""Rolling out what `deploy` deployed, up to the registry's champion.

A promotion is three writes, each of which may be the last before the process is killed:

1. the split gives all traffic to the candidate;
2. the registry's alias `champion` goes to it;
3. the old version's server ends.

After each, a server answers whatever the split names, and a retry finds the split's stable address to be the
candidate's and does the rest.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from stepworks.errors import NotFoundError, ServingError
from stepworks.registry.registry import Registry
from stepworks.report.canary_document import CanaryDocument
from stepworks.report.documents import DeploymentDocument, RegistrationDocument
from stepworks.serving.deploy import server_process
from stepworks.serving.launch import find_server
from stepworks.serving.rollout.local import LocalArm, LocalBackend
from stepworks.serving.rollout.policy import LAPTOP, RolloutPolicy
from stepworks.serving.rollout.probes import HttpProber, read_probes
from stepworks.serving.rollout.rollout import roll_out
from stepworks.serving.split_admin import read_split
from stepworks.supervisor.processes import ProcessManager


def roll_out_deployment(
    deployment: DeploymentDocument,
    package: Path,
    registration: RegistrationDocument,
    registry: str | Path,
    manager: ProcessManager,
    *,
    policy: RolloutPolicy | None = None,
) -> CanaryDocument:
    """Roll out what `deploy` deployed; a version that is promoted becomes the champion.

    It can be called again after it was killed or failed at any point: a version that was promoted before becomes
    the champion now, and the document has no stages and says so.

    Args:
        deployment: Where the service is.
        package: The candidate's package; its recorded samples are sent.
        registration: The candidate's version.
        registry: The registry's folder, which may lie below the mount path of a claim.
        manager: Owns the processes.
        policy: The stages, and what the judge allows; `LAPTOP` by default.

    Returns:
        The roll-out's course; its outcome may be a roll-back.

    Raises:
        ServingError: The registration is of another version; the version was rolled back
            before; or the service does not answer, and it has been rolled back then.
        NotFoundError: The registry lacks a version.
        ResourceError: The alias cannot be written; the candidate serves then, and a retry writes it.
    """
    require_candidate(registration, deployment)
    models = Registry(registry)
    if _is_promoted(manager, deployment):
        document = promoted_before(deployment)
    else:
        stable, candidate = _arms(manager, deployment, package, models)
        document = roll_out_arms(manager, deployment, stable, candidate, policy=policy)
    if document.outcome == "promoted":
        models.make_champion(registration.name, registration.version)
        if deployment.stable_version is not None:
            _end(manager, deployment.service, deployment.stable_version)
    return document


def roll_out_arms(
    manager: ProcessManager,
    deployment: DeploymentDocument,
    stable: LocalArm | None,
    candidate: LocalArm,
    *,
    policy: RolloutPolicy | None = None,
    rehearsal: bool = False,
) -> CanaryDocument:
    """Roll out one local server beside another; see `roll_out`. The stable server stays up in any case.

    Args:
        manager: Owns the processes.
        deployment: Where the service is.
        stable: The version that serves; missing when there is none.
        candidate: The version that is rolled out; its recorded samples are sent.
        policy: The stages, and what the judge allows; `LAPTOP` by default.
        rehearsal: Whether the candidate is broken on purpose; only noted in the document.

    Raises:
        StepworksError: Of the split, the supervisor or a package; the roll-out has been rolled back then.
    """
    backend = LocalBackend(manager, deployment.service, deployment.url, stable, candidate)
    probes = read_probes(candidate.package, None if stable is None else stable.package)
    with HttpProber(deployment.url, deployment.service, probes) as prober:
        return roll_out(backend, policy or LAPTOP, prober, rehearsal=rehearsal)


def require_promotion(document: CanaryDocument, course: Path) -> None:
    """Refuse to go on after a roll-out that did not promote.

    Args:
        document: The course of the roll-out.
        course: Where it can be read.

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
            what_to_do=f"Read the canary's course in the report, or in {course}. {serves}",
        )


def require_candidate(registration: RegistrationDocument, deployment: DeploymentDocument) -> None:
    """Refuse to roll out another version than the one that was deployed.

    Raises:
        ServingError: The registration is of another version.
    """
    received = (registration.name, str(registration.version))
    expected = (deployment.service, deployment.candidate_version)
    if received != expected:
        raise ServingError(
            "The registration is not of the version that was deployed",
            received=f"version {received[1]} of {received[0]}",
            expected=f"version {expected[1]} of {expected[0]}",
            what_to_do="Give the registration that was given to deploy.",
        )


def _is_promoted(manager: ProcessManager, deployment: DeploymentDocument) -> bool:
    settings = read_split(deployment.url).settings
    server = find_server(manager, server_process(deployment.service, deployment.candidate_version))
    return settings.candidate is None and server is not None and server == settings.stable


def promoted_before(deployment: DeploymentDocument) -> CanaryDocument:
    """The course of a roll-out that an earlier attempt of the step brought to its end."""
    return CanaryDocument(
        service=deployment.service,
        stable_version=deployment.stable_version,
        candidate_version=deployment.candidate_version,
        stages=[],
        outcome="promoted",
        reason="An earlier attempt of this step promoted the version; this one found it serving.",
    )


def _arms(
    manager: ProcessManager, deployment: DeploymentDocument, package: Path, models: Registry
) -> tuple[LocalArm | None, LocalArm]:
    """The stable version and the candidate, as the split has them."""
    settings = read_split(deployment.url).settings
    service, version = deployment.service, deployment.candidate_version
    if settings.candidate is None:
        _end(manager, service, version)  # A roll-back that was killed may have left it.
        raise ServingError(
            f"The service {service} has no candidate to roll out",
            received=f"version {version} was rolled back before, or does not run any more",
            what_to_do="Deploy the version again.",
        )
    candidate = LocalArm(version, server_process(service, version), settings.candidate, package)
    if deployment.stable_version is None or settings.stable is None:
        return None, candidate
    directory = models.get(service, int(deployment.stable_version)).directory
    process = server_process(service, deployment.stable_version)
    return LocalArm(deployment.stable_version, process, settings.stable, directory), candidate


def _end(manager: ProcessManager, service: str, version: str) -> None:
    with contextlib.suppress(NotFoundError):  # It was ended before.
        manager.stop(server_process(service, version))
