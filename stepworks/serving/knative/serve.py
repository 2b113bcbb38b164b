"""Giving all traffic of a model to one version as a revision, without a roll-out."""

from __future__ import annotations

from collections.abc import Callable

from stepworks.kube.api.cluster import Cluster
from stepworks.registry.registry import RegisteredModel, Registry
from stepworks.report.documents import DeploymentDocument
from stepworks.serving.candidates import deployment_of
from stepworks.serving.knative.deploy import deployed_revision, model_revisions
from stepworks.serving.kserve.deploy import ServiceRequest


def serve_version_on_knative(
    cluster: Cluster,
    model: RegisteredModel,
    registry: Registry,
    request: ServiceRequest,
    say: Callable[[str], None] = print,
) -> DeploymentDocument:
    """Deploy a registered version, give it all traffic at once, and make it the champion.

    The version that serves goes on until the new one does, which answers its recorded rows rightly first. The function
    can be called again after it was killed at any point.

    Args:
        cluster: Where.
        model: The version that is to serve.
        registry: The registry.
        request: How it is to be served.
        say: Is told each line of progress.

    Returns:
        Where the model is; there is no stable version beside it any more.

    Raises:
        ConfigurationError: Something cannot work, and nothing was made.
        StepworksError: As of `deploy_on_knative`.
    """
    revisions, version = model_revisions(cluster, model, request, say), str(model.version)
    deployed_revision(revisions, model, request)
    serving = revisions.serving()
    if serving is None or serving.percent is not None:
        revisions.keep(version)
    registry.make_champion(model.name, model.version)
    return deployment_of(model, revisions.url, splitter=request.splitter)
