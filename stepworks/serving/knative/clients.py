"""Connections to the revisions of a deployment, past the split of the traffic."""

from __future__ import annotations

from stepworks.kube.api.cluster import Cluster
from stepworks.kube.model_revisions import ModelRevisions
from stepworks.registry.registry import Registry
from stepworks.report.documents import DeploymentDocument
from stepworks.serving.knative.arms import revision_arms
from stepworks.serving.package_client import PackageClient


def clients_on_knative(cluster: Cluster, deployment: DeploymentDocument, registry: Registry) -> list[PackageClient]:
    """A connection to the candidate, and to the stable version where there is one.

    Raises:
        ServingError: The candidate is not on trial.
        NotFoundError: The registry lacks a version, or the InferenceService is gone.
        ClusterError: The API server refuses, fails or does not answer.
    """
    package = registry.get(deployment.service, int(deployment.candidate_version)).directory
    arms = revision_arms(ModelRevisions(cluster, deployment.service), deployment, package, registry)
    return [arm.client() for arm in (arms["candidate"], arms.get("stable")) if arm is not None]
