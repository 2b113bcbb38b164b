"""The versions of a model on a cluster without KServe: each a Deployment and a Service of its own."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import delete, find, list_objects
from stepworks.kube.api.references import Reference, Selection
from stepworks.kube.builders.model_server import SERVER_LABEL
from stepworks.kube.kinds.manifests import Manifest, labels_of
from stepworks.kube.runs.belonging import KEEP_LABEL
from stepworks.kube.served import Server
from stepworks.report.documents import DeploymentDocument
from stepworks.serving.formats.kserve import Served, served
from stepworks.serving.kserve.versions import InferenceServices, ServedVersion, Versions, version_name
from stepworks.serving.manifest import read_package


@dataclass(frozen=True)
class ServerVersion(ServedVersion):
    """One version whose Deployment, the `service` of it, has answered rightly."""

    @property
    def way(self) -> Served:
        """How it serves the package, as far as one asks it.

        Raises:
            ConfigurationError: There is no such format.
        """
        return served(self.manifest.format)

    @property
    def address(self) -> str:
        """Where its Service answers within the cluster."""
        server = Server.last_served(self.service)
        return "" if server is None else server.address

    @property
    def path(self) -> str:
        """Where it takes inference requests: a server that is not ours knows no name but the model's."""
        arguments, _ = self.way.sharing(self.model)
        (container,) = self.service["spec"]["template"]["spec"]["containers"]
        ours = self.way.keeps_own_name and set(arguments) <= set(container.get("args") or [])
        return self.way.path.format(name=self.name) if ours else self.shared_path

    @property
    def is_shared(self) -> bool:
        """Whether it is asked by the model's own name as every version is, which they all are."""
        return True


class ModelServers:
    """The versions of a model, each a Deployment and a Service.

    Args:
        cluster: Where.
        model: The model's name.
    """

    kind = "Deployment"

    def __init__(self, cluster: Cluster, model: str) -> None:
        self._cluster = cluster
        self._model = model

    def find(self, version: int | str, package: Path) -> ServedVersion | None:
        """A version that has answered rightly and is not ending; None where there is none."""
        present = self._present(version)
        return None if present is None else ServerVersion(str(version), present, package, read_package(package))

    def has(self, version: int | str) -> bool:
        """Whether a version is there, has answered rightly and is not ending."""
        return self._present(version) is not None

    def beside(self, version: int | str) -> list[str]:
        """The numbers of the other versions that steps have deployed and that are still there."""
        selection = Selection("apps/v1", "Deployment", labels=f"{KEEP_LABEL}=true,{SERVER_LABEL}")
        names = [str(each["metadata"]["name"]) for each in list_objects(self._cluster, selection)]
        numbers = (re.fullmatch(rf"{re.escape(self._model)}-v([0-9]+)", name) for name in names)
        return [number[1] for number in numbers if number and number[1] != str(version)]

    def rest(self, version: int | str, say: Callable[[str], None]) -> None:
        """Nothing: a Deployment has as many pods as it was given."""

    def end(self, version: int | str) -> bool:
        """Delete a version; whether there was one."""
        deployment, service = self._references(version)
        there = delete(self._cluster, deployment)
        delete(self._cluster, service)
        return there

    def _present(self, version: int | str) -> Manifest | None:
        deployment, _ = self._references(version)
        present = find(self._cluster, deployment)
        if present is None or present["metadata"].get("deletionTimestamp"):
            return None
        if labels_of(present).get(SERVER_LABEL) != deployment.name or Server.last_served(present) is None:
            return None
        return present

    def _references(self, version: int | str) -> tuple[Reference, Reference]:
        name = version_name(self._model, version)
        return Reference("apps/v1", "Deployment", name), Reference("v1", "Service", name)


def versions_of(cluster: Cluster, deployment: DeploymentDocument) -> Versions:
    """The versions of a model that was deployed, as its document says what they are made of."""
    kind = ModelServers if deployment.plain else InferenceServices
    return kind(cluster, deployment.service)
