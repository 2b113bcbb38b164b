"""Entering a package into the registry: by the gate, and under the digest of what it holds."""

from __future__ import annotations

from pathlib import Path

from stepworks.registry.admission import require_pass
from stepworks.registry.registry import Metadata, Registry
from stepworks.report.documents import RegistrationDocument, VerdictDocument
from stepworks.serving.manifest import read_package


def register_package(
    registry: str | Path,
    name: str,
    package: str | Path,
    verdict: VerdictDocument,
    run: str,
    created_by: str = "registry/register_model",
) -> RegistrationDocument:
    """Register a package as the next version of a model.

    Args:
        registry: The registry's folder, which may lie below the mount path of a claim.
        name: The model's name, a lowercase DNS label.
        package: The package's folder; every file of it is verified.
        verdict: What the gate said of the model.
        run: The id of the run; registering the same package again in the same run gives the same version.
        created_by: What registers it.

    Raises:
        RegistryError: The verdict is not a pass and not overridden, or a file of the registry cannot be read.
        ParameterError: The name is not allowed.
        NotFoundError: There is no package.
        ServingError: The package was changed since it was made.
        ResourceError: The disk is full or the registry is not writable.
    """
    require_pass(verdict, "register the model")
    folder = Path(package)
    digest = read_package(folder).digest
    metadata = Metadata(run=run, created_by=created_by, override=verdict.override)
    model = Registry(registry).register(name, folder, digest, metadata)
    return RegistrationDocument(
        name=model.name,
        version=model.version,
        uri=str(model.directory),
        digest=model.digest,
        already_registered=model.already_registered,
    )
