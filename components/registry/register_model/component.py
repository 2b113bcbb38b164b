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
    from pathlib import Path

    from stepworks.registry.admission import require_pass
    from stepworks.registry.registry import Metadata, Registry
    from stepworks.report.documents import RegistrationDocument, VerdictDocument
    from stepworks.serving.manifest import read_package
    from stepworks.supervisor.client import local_path

    require_pass(VerdictDocument.read(verdict.path), "register the model")
    source = Path(package.path)
    metadata = Metadata(run=run, created_by="registry/register_model")
    model = Registry(local_path(registry)).register(name, source, read_package(source).digest, metadata)
    RegistrationDocument(
        name=model.name,
        version=model.version,
        uri=str(model.directory),
        digest=model.digest,
        already_registered=model.already_registered,
    ).write(registration.path)
