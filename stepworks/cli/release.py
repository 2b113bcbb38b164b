"""`stepworks release`: compiled versions that never change again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stepworks.cli.options import CompiledOption, TargetsOption

if TYPE_CHECKING:
    from stepworks.kubeflow.release import ReleaseIndex


def release(
    pipeline: Annotated[
        list[str] | None, typer.Argument(metavar="PIPELINE", help="Pipelines to release; all when none is named.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Record nothing; see that every released file is as it was released.")
    ] = False,
    against: Annotated[
        str | None,
        typer.Option(metavar="REVISION", help="With --check: see also that no release of this Git revision is gone."),
    ] = None,
    compiled: CompiledOption = Path("compiled"),
    targets: TargetsOption = Path("targets"),
) -> None:
    """Record the compiled files of a pipeline's version as released: from then on they never change.

    The digests are kept in compiled/index.json, with the commit and the kfp that they were compiled from.
    """
    from stepworks.kubeflow.release import INDEX, ReleaseIndex, Repository

    index = ReleaseIndex.read(compiled)
    count = index.check_files(compiled)
    if check:
        if against:
            earlier = Repository(compiled).file_at(against, INDEX)
            if earlier:
                index.check_successor(ReleaseIndex.parse(earlier, f"{INDEX} at {against}"), against)
        sys.stdout.write(f"{count} released file(s) below {compiled}/ are as they were released.\n")
        return
    _release(pipeline or [], index, compiled, targets)


def _release(names: list[str], index: ReleaseIndex, compiled: Path, targets: Path) -> None:
    from stepworks.cli.compile import choose_targets
    from stepworks.kubeflow.compile import check_compiled, compile_pipeline
    from stepworks.kubeflow.pipeline import load_pipeline, load_pipelines
    from stepworks.kubeflow.release import INDEX, Repository, release_files

    pipelines = [load_pipeline(name) for name in names] if names else list(load_pipelines().values())
    chosen, _ = choose_targets(targets, [])
    current = [compile_pipeline(each, target) for each in pipelines for target in chosen]
    check_compiled(current, compiled)
    repository = Repository(compiled)
    repository.require_clean()
    files = {(each.pipeline, each.version, each.target): each.text for each in current}
    index, new = release_files(index, files, repository.revision())
    index.write(compiled)
    for pipeline, version, target in files:
        mark = "released" if (pipeline, version, target) in new else "was released before"
        sys.stdout.write(f"{pipeline} {version} for {target}  {mark}\n")
    if new:
        sys.stdout.write(f"Commit {compiled / INDEX}, and tag the commit.\n")
