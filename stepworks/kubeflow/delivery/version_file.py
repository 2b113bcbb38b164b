"""The compiled files that are delivered: `<folder>/<pipeline>/<version>/<target>.yaml`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from stepworks.errors import ConfigurationError, NotFoundError
from stepworks.kubeflow.ir.model import Ir
from stepworks.kubeflow.ir.read import read_ir
from stepworks.kubeflow.release import ReleaseIndex, sha256_of
from stepworks.kubeflow.semantic_version import SemanticVersion


@dataclass(frozen=True)
class VersionFile:
    """A compiled file: one version of a pipeline for one target."""

    pipeline: str
    version: str
    target: str
    path: Path

    @property
    def name(self) -> str:
        """The version's name in Kubeflow: `<version>-<target>`."""
        return f"{self.version}-{self.target}"

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the file."""
        return sha256_of(self.path.read_bytes())

    @cached_property
    def ir(self) -> Ir:
        """What the file holds; ConfigurationError where it is no compiled pipeline."""
        return read_ir(self.path)

    @property
    def pipeline_name(self) -> str:
        """The pipeline's name in Kubeflow."""
        return self.ir.name


def find_version_file(
    folder: Path, pipeline: str, *, version: str | None = None, target: str | None = None
) -> VersionFile:
    """Find a compiled file.

    Args:
        folder: The folder of compiled files.
        pipeline: The pipeline.
        version: Its version; the newest when None.
        target: The target; may be None where the version has one only.

    Raises:
        NotFoundError: There is no such file.
        ConfigurationError: There are several targets, and none was named; or the file is for Vertex AI.
        UserError: The file is released, and has changed since.
    """
    chosen = _choose_version(folder, pipeline, version)
    name = _choose_target(folder, pipeline, chosen, target)
    file = VersionFile(pipeline, chosen, name, folder / pipeline / chosen / f"{name}.yaml")
    # Once uploaded, a version can never be put right.
    ReleaseIndex.read(folder).check_file(pipeline, chosen, name, file.path.read_bytes())
    if file.ir.backend == "vertex":
        raise ConfigurationError(
            f"{pipeline} {chosen} for the target {name} is for Vertex AI",
            received=str(file.path),
            expected="a file that Kubeflow runs",
            what_to_do="Name a target of Kubeflow; docs/vertex.md says how to start a run on Vertex AI.",
        )
    return file


def _choose_version(folder: Path, pipeline: str, version: str | None) -> str:
    found = (SemanticVersion.parse(path.name) for path in (folder / pipeline).glob("*") if any(path.glob("*.yaml")))
    versions = [str(each) for each in sorted(each for each in found if each)]
    if not versions:
        raise NotFoundError(
            f"There is no compiled pipeline {pipeline}",
            received=pipeline,
            expected=f"one of {', '.join(compiled_pipelines(folder))}",
            what_to_do="Correct the name, or compile it: stepworks compile [FILE.py]",
        )
    chosen = version or versions[-1]
    if chosen not in versions:
        raise NotFoundError(
            f"{pipeline} has no version {chosen}",
            received=chosen,
            expected=f"one of {', '.join(versions)}",
            what_to_do="Correct the version; give it without the target (0.1.0, not 0.1.0-a100).",
        )
    return chosen


def _choose_target(folder: Path, pipeline: str, version: str, target: str | None) -> str:
    targets = sorted(path.stem for path in (folder / pipeline / version).glob("*.yaml"))
    if target is None and len(targets) > 1:
        raise ConfigurationError(
            f"{pipeline} {version} is compiled for several targets",
            received="no target",
            expected=f"one of {', '.join(targets)}",
            what_to_do=f"Name the cluster's target: --target {targets[0]}",
        )
    if target is not None and target not in targets:
        raise NotFoundError(
            f"{pipeline} {version} is not compiled for the target {target}",
            received=target,
            expected=f"one of {', '.join(targets)}",
            what_to_do="Correct the target, or compile for it: stepworks compile",
        )
    return target or targets[0]


def compiled_pipelines(folder: Path) -> list[str]:
    """The pipelines that are compiled below a folder.

    Raises:
        NotFoundError: There are none.
    """
    found = sorted({path.parts[-3] for path in folder.glob("*/*/*.yaml")})
    if not found:
        raise NotFoundError(
            f"There is no compiled pipeline in {folder}/",
            expected="<pipeline>/<version>/<target>.yaml",
            what_to_do="Run in the folder of the checkout, name the folder with --compiled, or compile first.",
        )
    return found
