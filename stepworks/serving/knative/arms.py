"""The versions of a model that are revisions, as they are asked past the split of the traffic."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stepworks.errors import ServingError
from stepworks.kube.builders.revisions import read_serving
from stepworks.kube.kinds.manifests import Manifest
from stepworks.kube.kinds.revisions import read_revisions
from stepworks.kube.model_revisions import ModelRevisions
from stepworks.registry.registry import Registry
from stepworks.report.documents import DeploymentDocument
from stepworks.serving.formats.kserve import Served, served
from stepworks.serving.manifest import Manifest as PackageManifest
from stepworks.serving.manifest import Samples, read_package
from stepworks.serving.package_client import PackageClient
from stepworks.serving.split_admin import ArmName


@dataclass(frozen=True)
class RevisionArm:
    """A version that is a revision.

    Attributes:
        model: The model's name, by which the server of each version knows it.
        version: The version.
        revision: The revision's name; empty where it does not matter.
        url: The revision's own address, whatever its share of the traffic.
        package: The package that it serves.
        manifest: The package's manifest.
        way: How the package is served.
    """

    model: str
    version: str
    revision: str
    url: str
    package: Path
    manifest: PackageManifest
    way: Served

    def client(self) -> PackageClient:
        """A connection to it.

        Raises:
            ServingError: Its package has no usable samples.
        """
        return PackageClient(self.url, self.model, self.model, self.way, self.manifest, Samples.read(self.package))


def revision_arm(
    model: str, version: str, predictor: Manifest, package: Path, url: str, revision: str = ""
) -> RevisionArm:
    """A version as its predictor and its package say it is.

    Raises:
        NotFoundError: There is no package.
        ServingError: The package was changed.
        ConfigurationError: The format is not one that KServe serves by that runtime.
    """
    manifest = read_package(package)
    way = served(manifest.format, str(predictor["model"].get("runtime", "")))
    return RevisionArm(model, version, revision, url, package, manifest, way)


def revision_arms(
    revisions: ModelRevisions, deployment: DeploymentDocument, package: Path, models: Registry
) -> dict[ArmName, RevisionArm]:
    """The candidate, and the stable version where there is one.

    Args:
        revisions: The model's revisions.
        deployment: Where the model is.
        package: The candidate's package.
        models: Has the package of the stable version.

    Raises:
        ServingError: The candidate is not on trial, or beside another version than the one that served.
        NotFoundError: The registry lacks a version, or the InferenceService is gone.
        ClusterError: The API server refuses, fails or does not answer.
    """
    model, version = deployment.service, deployment.candidate_version
    present = revisions.present()
    serving = read_serving(present)
    beside = None if serving.stable is None else serving.stable.version
    if serving.version != version or serving.restoring or beside != deployment.stable_version:
        raise ServingError(
            f"The model {model} has no candidate to roll out",
            received=f"version {serving.version}" + (f" beside version {beside}" if beside else ""),
            expected=f"version {version}, as deploy has left it"
            + (f", beside version {deployment.stable_version}" if deployment.stable_version else ""),
            what_to_do="It was rolled back before, or another roll-out has replaced it. Deploy the version again.",
        )
    newest = read_revisions(present).created
    arms: dict[ArmName, RevisionArm] = {
        "candidate": revision_arm(
            model, version, present["spec"]["predictor"], package, revisions.candidate_url, newest
        )
    }
    if serving.stable is not None:
        stable, directory = serving.stable, models.get(model, int(serving.stable.version)).directory
        arms["stable"] = revision_arm(
            model, stable.version, stable.predictor, directory, revisions.stable_url, stable.revision
        )
    return arms
