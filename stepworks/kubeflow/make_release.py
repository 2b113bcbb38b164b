"""Releasing what was compiled: checked, committed, and recorded for good."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from stepworks.errors import UserError
from stepworks.kubeflow.compile import Compiled, check_compiled
from stepworks.kubeflow.git import Repository
from stepworks.kubeflow.ir.read import parse_ir
from stepworks.kubeflow.lint.check import lint_ir
from stepworks.kubeflow.lint.finding import Severity
from stepworks.kubeflow.release import INDEX, ReleaseIndex, release_files

PLACEHOLDER_RULE = "I05"
"""The lint rule for images in a registry that only stands for one; a hint elsewhere, and no release."""


def release(compiled: Collection[Compiled], folder: Path, sources: Iterable[Path] = ()) -> list[Compiled]:
    """Record what was compiled as released.

    Args:
        compiled: What the source compiles to now.
        folder: The folder of compiled files.
        sources: The files of the pipelines.

    Returns:
        What is new in the index; what was released before stays as it is.

    Raises:
        UserError: A kept file is stale, the linter finds an error, a warning or a placeholder for a registry, the
            source is not committed, or a released version would change. Nothing is recorded.
    """
    check_compiled(compiled, folder)
    _refuse_findings(compiled)
    repository = Repository(folder)
    repository.require_tracked(sources)
    repository.require_clean(INDEX)
    files = {(each.pipeline, each.version, each.target): each.text for each in compiled}
    index, new = release_files(ReleaseIndex.read(folder), files, repository.revision())
    index.write(folder)
    return [each for each in compiled if (each.pipeline, each.version, each.target) in new]


def _refuse_findings(compiled: Iterable[Compiled]) -> None:
    """A release cannot be mended, so what would fail is told before."""
    told = [
        f"{each.path}: {finding.rule} {finding.message}"
        for each in compiled
        for finding in lint_ir(parse_ir(each.text, each.path))
        if finding.severity.rank >= Severity.WARNING.rank or finding.rule == PLACEHOLDER_RULE
    ]
    if told:
        more = f"; and {len(told) - 3} more" if len(told) > 3 else ""
        raise UserError(
            "What is to be released does not pass lint",
            received="; ".join(told[:3]) + more,
            expected="no error, no warning, and images in a registry that is there",
            what_to_do="See stepworks lint compiled. Set your registry in the target's file, and compile again.",
        )
