"""Which version may be deployed, and beside which it has to prove itself."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from stepworks.errors import ConfigurationError, ServingError
from stepworks.placement.storage import Mount
from stepworks.registry.admission import require_pass
from stepworks.registry.registry import RegisteredModel
from stepworks.report.documents import DeploymentDocument, VerdictDocument
from stepworks.report.traffic_splitter import TrafficSplitter
from stepworks.serving.manifest import read_package

OVERRIDE_ANNOTATION = "stepworks.dev/verdict-override"
"""Of what serves a version: why it does although the gate did not let it pass, and who says so."""


def stable_beside(
    candidate: RegisteredModel, verdict: VerdictDocument, champion: RegisteredModel | None
) -> RegisteredModel | None:
    """The version that a candidate is deployed beside; None where none serves, or the candidate itself does.

    Args:
        candidate: The version to deploy.
        verdict: What the gate said of it.
        champion: The version that serves; missing when there is none.

    Raises:
        ServingError: The verdict is neither a pass nor overridden, or the version that serves takes other features.
        NotFoundError: There is no package.
    """
    require_pass(verdict, "deploy the model", ServingError)
    stable = champion if champion is not None and champion.version != candidate.version else None
    _require_same_signature(candidate, stable)
    return stable


def override_annotations(model: RegisteredModel) -> dict[str, str]:
    """What a served version says of a verdict that was overridden; nothing where the gate let it pass."""
    return {OVERRIDE_ANNOTATION: model.metadata.override} if model.metadata.override else {}


def deployment_of(
    candidate: RegisteredModel,
    url: str,
    stable: RegisteredModel | None = None,
    *,
    splitter: TrafficSplitter | None = None,
    plain: bool = False,
) -> DeploymentDocument:
    """Where a model is, as the step that deployed a version of it writes it down.

    Args:
        candidate: The version.
        url: The address at which clients ask.
        stable: The version beside it; None where it is alone.
        splitter: What splits the traffic on a cluster.
        plain: Whether the versions are Deployments, and not InferenceServices.
    """
    return DeploymentDocument(
        service=candidate.name,
        url=url,
        stable_version=None if stable is None else str(stable.version),
        candidate_version=str(candidate.version),
        model_directory=str(candidate.directory),
        splitter=splitter or TrafficSplitter(),
        plain=plain,
    )


def not_on_a_claim(folder: str, mounts: Iterable[Mount]) -> ConfigurationError:
    """The error of a registered version that no model server could mount.

    Args:
        folder: Where it is.
        mounts: The claims that could be mounted.
    """
    return ConfigurationError(
        "The registry is on no claim that the model server could mount",
        received=folder,
        expected="a folder below " + (" or ".join(each.mount_path for each in mounts) or "a mounted claim"),
        what_to_do="Name the claim of the registry in the placement: placement_of('serving', mounts=['registry']).",
    )


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
