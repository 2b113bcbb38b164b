"""Register a packaged model."""

from kfp.dsl import Artifact, Input, Model, Output

from stepworks.kubeflow.component import component


@component("cpu")
def register_model(
    package: Input[Model], verdict: Input[Artifact], name: str, registry: str, run: str, registration: Output[Artifact]
) -> None:
    """Register a packaged model as the next version of a name, if the gate lets it pass.

    Args:
        package: The package's folder, as package_model writes it.
        verdict: What the gate said.
        name: The model's name in the registry, a lowercase DNS label.
        registry: The registry's folder; below a mounted claim in a cluster.
        run: The id of the run; registering again in the same run gives the same version.
        registration: Which version it became.
    """
    from stepworks.report.documents import VerdictDocument
    from stepworks.serving.registration import register_package

    judged = VerdictDocument.read(verdict.path)
    register_package(registry, name, package.path, judged, run).write(registration.path)
