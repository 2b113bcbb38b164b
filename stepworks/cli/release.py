"""`stepworks release`: compiled versions that never change again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from stepworks.cli.options import CompiledOption, TargetsOption


def release(
    pipeline: Annotated[
        list[str] | None, typer.Argument(metavar="PIPELINE", help="Pipelines to release; all when none is named.")
    ] = None,
    target: Annotated[list[str] | None, typer.Option("--target", "-t", help="Release for this target only.")] = None,
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
    from stepworks.errors import ParameterError
    from stepworks.kubeflow.git import Repository
    from stepworks.kubeflow.release import INDEX, ReleaseIndex

    index = ReleaseIndex.read(compiled)
    count = index.check_files(compiled)
    if check:
        if against:
            earlier = Repository(compiled).file_at(against, INDEX)
            if earlier:
                index.check_successor(ReleaseIndex.parse(earlier, f"{INDEX} at {against}"), against)
        sys.stdout.write(f"{count} released file(s) below {compiled}/ are as they were released.\n")
        return
    if against:
        raise ParameterError("--against is for --check", what_to_do="Add --check, or leave --against out.")
    _release(pipeline or [], target or [], compiled, targets)


def _release(names: list[str], target_names: list[str], compiled: Path, targets: Path) -> None:
    from stepworks.cli.compile import choose_targets, compile_for
    from stepworks.kubeflow.make_release import release as release_compiled
    from stepworks.kubeflow.pipeline import load_pipeline, load_pipelines
    from stepworks.kubeflow.release import INDEX

    pipelines = [load_pipeline(name) for name in names] if names else list(load_pipelines().values())
    current = compile_for(pipelines, choose_targets(targets, target_names)[0])
    new = release_compiled(current, compiled, [pipeline.file for pipeline in pipelines])
    for each in current:
        mark = "released" if each in new else "was released before"
        sys.stdout.write(f"{each.pipeline} {each.version} for {each.target}  {mark}\n")
    if new:
        sys.stdout.write(f"Commit {compiled / INDEX}, and tag the commit.\n")
