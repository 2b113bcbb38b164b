"""Deploy a registered model beside the one that serves."""

from kfp.dsl import Artifact, Input, Model, Output

from stepworks.kubeflow.component import component


@component("serving")
def deploy(
    package: Input[Model],
    verdict: Input[Artifact],
    registration: Input[Artifact],
    registry: str,
    deployment: Output[Artifact],
) -> None:
    """Start a registered version beside the champion, with no traffic yet.

    Args:
        package: The package's folder; what is served is the registry's copy of it.
        verdict: What the gate said; anything but a pass is refused.
        registration: The version to deploy.
        registry: The registry's folder; below a mounted claim in a cluster.
        deployment: Where the service is.
    """
    from pathlib import Path

    from stepworks.registry.registry import Registry
    from stepworks.report.documents import RegistrationDocument, VerdictDocument
    from stepworks.serving import deploy as serving

    registered = RegistrationDocument.read(registration.path)
    models = Registry(registry)
    candidate = models.get(registered.name, registered.version)
    serving.require_same_package(Path(package.path), candidate)
    verdict_document = VerdictDocument.read(verdict.path)
    serving.deploy(candidate, verdict_document, models.champion(registered.name)).write(deployment.path)
