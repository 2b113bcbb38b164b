"""`stepworks compile`: pipelines to IR YAML."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from stepworks.files import write_atomically
from stepworks.kubeflow.compile import Compiled, check_compiled, compile_pipeline, write_compiled
from stepworks.kubeflow.pipeline import Pipeline, load_pipeline, load_pipelines
from stepworks.kubeflow.vertex.extra import INSTALL, is_installed
from stepworks.placement.target import Target, read_targets


def compile_pipelines(
    names: Sequence[str],
    target_names: Sequence[str],
    targets_folder: Path,
    output: Path,
    *,
    check: bool,
    kubernetes: bool = False,
) -> None:
    """Compile the named pipelines, or all, for the named targets, or all; write them, or compare with what is kept.

    With `kubernetes`, the objects of the Kubernetes-native store are written beside each file, too. Targets of Vertex
    AI that are not named are left out, and that is said, where what compiling for them takes is not installed.
    """
    targets, complete = choose_targets(targets_folder, target_names)
    pipelines = [load_pipeline(name) for name in names] if names else list(load_pipelines().values())
    compiled = compile_for(pipelines, targets)
    if check:
        check_compiled(compiled, output, complete=complete and not names)
        if any(output.glob("*/*/kubernetes/*.yaml")):
            from stepworks.kubeflow.manifest import check_manifests

            check_manifests(output)
        sys.stdout.write(f"{len(compiled)} compiled file(s) below {output}/ are fresh.\n")
        return
    changed = write_compiled(compiled, output)
    for each in compiled:
        mark = "written" if output / each.path in changed else "unchanged"
        sys.stdout.write(f"{output / each.path}  {mark}, {len(each.text.encode()) / 1000:.1f} kB\n")
    on_kubernetes = {target.name for target in targets if target.backend == "kubeflow"}
    for each in [each for each in compiled if kubernetes and each.target in on_kubernetes]:
        from stepworks.kubeflow.manifest import manifest, manifest_path

        path = write_atomically(output / manifest_path(each), manifest(each).encode())
        sys.stdout.write(f"{path}  written: kubectl apply -n NAMESPACE -f {path}\n")


def compile_for(pipelines: Iterable[Pipeline], targets: Iterable[Target]) -> list[Compiled]:
    """Compile each pipeline for each of the targets that it is for."""
    chosen = list(targets)
    return [
        compile_pipeline(pipeline, target)
        for pipeline in pipelines
        for target in chosen
        if pipeline.targets is None or target.name in pipeline.targets
    ]


def choose_targets(folder: Path, names: Sequence[str]) -> tuple[list[Target], bool]:
    """The targets to compile for, and whether they are all that there are.

    Those of Vertex AI are left out, which is said, where they are not named and what they take is not installed.
    """
    targets = list(read_targets(folder, names).values())
    left_out = [] if names or is_installed() else [each for each in targets if each.backend == "vertex"]
    for target in left_out:
        sys.stdout.write(f"The target {target.name} is left as it is: compiling for Vertex AI takes {INSTALL}\n")
    return [each for each in targets if each not in left_out], not names and not left_out
