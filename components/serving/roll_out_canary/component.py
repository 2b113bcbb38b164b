"""Roll a deployed model out as a canary."""

from kfp.dsl import HTML, Artifact, Input, Model, Output

from stepworks.kubeflow.component import component


@component("serving")
def roll_out_canary(
    deployment: Input[Artifact],
    package: Input[Model],
    registration: Input[Artifact],
    registry: str,
    canary: Output[Artifact],
    page: Output[HTML],
) -> None:
    """Shift traffic to the deployed version stage by stage; it becomes the champion, or is rolled back.

    Args:
        deployment: What deploy started.
        package: The package's folder; its recorded samples are sent.
        registration: The version that is rolled out.
        registry: The registry's folder; below a mounted claim in a cluster.
        canary: The roll-out's course.
        page: The same as a page. Both are written on a roll-back too, before the step fails.
    """
    from pathlib import Path

    from stepworks.report.documents import DeploymentDocument, RegistrationDocument
    from stepworks.report.page import write_page
    from stepworks.serving.rollout import deployment as rollout

    deployed = DeploymentDocument.read(deployment.path)
    registered = RegistrationDocument.read(registration.path)
    document = rollout.roll_out_deployment(deployed, Path(package.path), registered, registry)
    document.write(canary.path)
    write_page(page.path, f"Canary of {deployed.service}", document)
    rollout.require_promotion(document)
