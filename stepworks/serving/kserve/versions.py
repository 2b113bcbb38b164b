"""The versions of a model on a cluster: each an InferenceService of its own, and what they are called."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import delete, find, list_objects
from stepworks.kube.api.references import Reference, Selection, located
from stepworks.kube.builders.routes import Route
from stepworks.kube.kinds.manifests import Manifest, annotations_of
from stepworks.kube.kinds.names import check_name
from stepworks.kube.model_scaling import let_rest
from stepworks.kube.model_service import address_of
from stepworks.kube.runs.belonging import KEEP_LABEL, SPEC_ANNOTATION
from stepworks.kube.runs.retry_marker import is_marked
from stepworks.serving.formats.kserve import Served, served
from stepworks.serving.manifest import Manifest as PackageManifest
from stepworks.serving.manifest import Samples, read_package
from stepworks.serving.package_client import PackageClient

API_VERSION = "serving.kserve.io/v1beta1"
KIND = "InferenceService"
_STOP = "serving.kserve.io/stop"


@dataclass(frozen=True)
class ServedVersion:
    """One version on a cluster, which is ready.

    Attributes:
        version: Its number.
        service: Its InferenceService.
        package: The package that it serves.
        manifest: The package's manifest.
    """

    version: str
    service: Manifest
    package: Path
    manifest: PackageManifest

    @property
    def way(self) -> Served:
        """How it serves the package.

        Raises:
            ConfigurationError: The format is not one that KServe serves by that runtime.
        """
        runtime = str(self.service["spec"]["predictor"]["model"].get("runtime", ""))
        return served(self.manifest.format, runtime)

    @property
    def name(self) -> str:
        """The name of its InferenceService."""
        return str(self.service["metadata"]["name"])

    @property
    def address(self) -> str:
        """Where it answers within the cluster, past what splits the traffic.

        Raises:
            ConfigurationError: It has none, as before it is ready.
        """
        return address_of(self.service)

    @property
    def model(self) -> str:
        """The name of the model."""
        return self.name.removesuffix(f"-v{self.version}")

    @property
    def path(self) -> str:
        """Where it takes inference requests.

        Raises:
            ConfigurationError: As of `way`.
        """
        own = self.way.keeps_own_name or not self.is_shared
        return self.way.path.format(name=self.name if own else self.model)

    @property
    def shared_path(self) -> str:
        """Where every version of the model takes inference requests, if this one `is_shared`.

        Raises:
            ConfigurationError: As of `way`.
        """
        return self.way.path.format(name=self.model)

    @property
    def is_shared(self) -> bool:
        """Whether it is asked by the model's own name as every version is.

        Raises:
            ConfigurationError: As of `way`.
        """
        arguments, environment = self.way.sharing(self.model)
        server = self.service["spec"]["predictor"]["model"]
        given = {each["name"]: each.get("value") for each in server.get("env") or []}
        told = set(arguments) <= set(server.get("args") or []) and environment.items() <= given.items()
        return self.shared_path == self.way.path.format(name=self.name) or (bool(arguments or environment) and told)

    @property
    def route(self) -> Route:
        """How the router of the model knows it.

        Raises:
            ConfigurationError: It has no address, as before it is ready.
        """
        return Route(self.name, f"{self.address.rstrip('/')}{self.path}")

    def client(self) -> PackageClient:
        """A connection to it, past the router.

        Raises:
            ServingError: Its package has no usable samples.
        """
        samples = Samples.read(self.package)
        return PackageClient(self.address, self.name, self.model, self.way, self.manifest, samples, path=self.path)


class Versions(Protocol):
    """The versions of one model on a cluster, whatever each is made of.

    Each method may raise ClusterError: the API server refuses, fails or does not answer.
    """

    @property
    def kind(self) -> str:
        """What a version is: `InferenceService`."""
        ...

    def find(self, version: int | str, package: Path) -> ServedVersion | None:
        """A version that is there and not ending; None where there is none.

        Args:
            version: Its number.
            package: The package that it serves.

        Raises:
            NotFoundError: There is no package.
            ServingError: The package was changed.
        """
        ...

    def has(self, version: int | str) -> bool:
        """Whether a version is there and not ending."""
        ...

    def beside(self, version: int | str) -> list[str]:
        """The numbers of the other versions that steps have deployed and that are still there."""
        ...

    def rest(self, version: int | str, say: Callable[[str], None]) -> None:
        """Let a version that serves for good be scaled as it is to be."""
        ...

    def end(self, version: int | str) -> bool:
        """Delete a version; whether there was one."""
        ...


class InferenceServices:
    """The versions of a model, each an InferenceService.

    Args:
        cluster: Where.
        model: The model's name.
    """

    kind = KIND

    def __init__(self, cluster: Cluster, model: str) -> None:
        self._cluster = cluster
        self._model = model

    def find(self, version: int | str, package: Path) -> ServedVersion | None:
        """A version that is there and not ending; None where there is none."""
        service = find_version(self._cluster, self._model, version)
        return None if service is None else served_version(version, service, package)

    def has(self, version: int | str) -> bool:
        """Whether a version is there and not ending."""
        return find_version(self._cluster, self._model, version) is not None

    def beside(self, version: int | str) -> list[str]:
        """The numbers of the other versions that steps have deployed and that are still there."""
        return versions_beside(self._cluster, self._model, version)

    def rest(self, version: int | str, say: Callable[[str], None]) -> None:
        """Let a version that serves for good go down to its least number of pods."""
        let_rest(self._cluster, version_name(self._model, version), say)

    def end(self, version: int | str) -> bool:
        """Delete a version; whether there was one."""
        return end_version(self._cluster, self._model, version)


def served_version(version: int | str, service: Manifest, package: Path) -> ServedVersion:
    """A version as its InferenceService and its package say it is.

    Raises:
        NotFoundError: There is no package.
        ServingError: The package was changed.
    """
    return ServedVersion(str(version), service, package, read_package(package))


def version_name(model: str, version: int | str) -> str:
    """The name of a version's InferenceService, by which its server knows the model, too.

    Raises:
        ConfigurationError: The model's name is too long for it, or has other characters.
    """
    return check_name(KIND, f"{model}-v{version}")


def version_reference(cluster: Cluster, model: str, version: int | str) -> Reference:
    """The InferenceService of a version.

    Raises:
        ConfigurationError: As of `version_name`.
    """
    return located(cluster, Reference(API_VERSION, KIND, version_name(model, version)))


def find_version(cluster: Cluster, model: str, version: int | str) -> Manifest | None:
    """The InferenceService of a version; None where it is not there, is being deleted, or was stopped.

    Raises:
        ClusterError: The API server refuses, fails or does not answer.
    """
    present = find(cluster, version_reference(cluster, model, version))
    if present is None or present["metadata"].get("deletionTimestamp"):
        return None
    return None if annotations_of(present).get(_STOP) == "true" or is_marked(present) else present


def versions_beside(cluster: Cluster, model: str, version: int | str) -> list[str]:
    """The numbers of the other versions of a model that steps have deployed and that are still there.

    Raises:
        ClusterError: The API server refuses, fails or does not answer.
    """
    found = list_objects(cluster, Selection(API_VERSION, KIND, labels=f"{KEEP_LABEL}=true"))
    ours = [str(each["metadata"]["name"]) for each in found if SPEC_ANNOTATION in annotations_of(each)]
    numbers = (re.fullmatch(rf"{re.escape(model)}-v([0-9]+)", name) for name in ours)
    return [number[1] for number in numbers if number and number[1] != str(version)]


def end_version(cluster: Cluster, model: str, version: int | str) -> bool:
    """Delete a version's InferenceService; whether there was one.

    Raises:
        ClusterError: The API server refuses, fails or does not answer.
    """
    return delete(cluster, version_reference(cluster, model, version))
