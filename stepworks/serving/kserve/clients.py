"""Connections to the versions of a deployment on a cluster, past the router."""

from __future__ import annotations

from stepworks.errors import ServingError
from stepworks.kube.api.cluster import Cluster
from stepworks.registry.registry import Registry
from stepworks.report.documents import DeploymentDocument
from stepworks.serving.kserve.model_servers import versions_of
from stepworks.serving.kserve.versions import version_name
from stepworks.serving.package_client import PackageClient


def clients_on_kserve(cluster: Cluster, deployment: DeploymentDocument, registry: Registry) -> list[PackageClient]:
    """A connection to the candidate, and to the stable version where there is one.

    Raises:
        ServingError: A version is not there.
        NotFoundError: The registry lacks one.
        ClusterError: The API server refuses, fails or does not answer.
    """
    model, versions = deployment.service, versions_of(cluster, deployment)
    found = []
    for version in filter(None, (deployment.candidate_version, deployment.stable_version)):
        served = versions.find(version, registry.get(model, int(version)).directory)
        if served is None:
            raise ServingError(
                f"Version {version} of {model} is gone",
                received=f"no {versions.kind} {version_name(model, version)}",
                expected="the versions that there were when the step deploy ended",
                what_to_do="Deploy the candidate again: that brings the other one back, too.",
            )
        found.append(served.client())
    return found
