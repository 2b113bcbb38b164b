"""The compiled files that are delivered: `<folder>/<pipeline>/<version>/<target>.yaml`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from stepworks.errors import ConfigurationError, NotFoundError
from stepworks.kubeflow.ir.model import Ir
from stepworks.kubeflow.ir.read import read_ir
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
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

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
        ConfigurationError: There are several targets, and none was named.
    """
    found = (SemanticVersion.parse(path.name) for path in (folder / pipeline).glob("*"))
    versions = [str(each) for each in sorted(each for each in found if each)]
    if not versions:
        raise NotFoundError(
            f"There is no compiled pipeline {pipeline}",
            received=pipeline,
            expected=f"one of {', '.join(compiled_pipelines(folder)) or 'none'} below {folder}/",
            what_to_do="Correct the name, or compile: stepworks compile",
        )
    chosen = version or versions[-1]
    if chosen not in versions:
        raise NotFoundError(
            f"{pipeline} has no version {chosen}",
            received=chosen,
            expected=f"one of {', '.join(versions)}",
            what_to_do="Correct the version; give it without the target (0.1.0, not 0.1.0-a100).",
        )
    targets = sorted(path.stem for path in (folder / pipeline / chosen).glob("*.yaml"))
    if target is None and len(targets) > 1:
        raise ConfigurationError(
            f"{pipeline} {chosen} is compiled for several targets",
            received="no target",
            expected=f"one of {', '.join(targets)}",
            what_to_do=f"Name the cluster's target: --target {targets[0]}",
        )
    if target is not None and target not in targets:
        raise NotFoundError(
            f"{pipeline} {chosen} is not compiled for the target {target}",
            received=target,
            expected=f"one of {', '.join(targets) or 'none'}",
            what_to_do="Correct the target, or compile for it: stepworks compile",
        )
    name = target or targets[0]
    found_file = VersionFile(pipeline, chosen, name, folder / pipeline / chosen / f"{name}.yaml")
    if found_file.ir.backend == "vertex":
        raise ConfigurationError(
            f"{pipeline} {chosen} for the target {name} is for Vertex AI",
            received=str(found_file.path),
            expected="a file that Kubeflow runs",
            what_to_do="Name a target of Kubeflow; docs/vertex.md says how to start a run on Vertex AI.",
        )
    return found_file


def compiled_pipelines(folder: Path) -> list[str]:
    """The pipelines that are compiled below a folder."""
    return sorted({path.parts[-3] for path in folder.glob("*/*/*.yaml")})
