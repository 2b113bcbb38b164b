"""`stepworks compile`: pipelines to IR YAML."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from stepworks.files import write_atomically
from stepworks.kubeflow.compile import check_compiled, compile_pipeline, write_compiled
from stepworks.kubeflow.pipeline import load_pipeline, load_pipelines
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
    named = read_targets(targets_folder, target_names)
    targets = list(named.values()) if target_names or is_installed() else _without_vertex(named.values())
    pipelines = [load_pipeline(name) for name in names] if names else list(load_pipelines().values())
    compiled = [compile_pipeline(pipeline, target) for pipeline in pipelines for target in targets]
    if check:
        check_compiled(compiled, output, complete=not names and len(targets) == len(named) and not target_names)
        sys.stdout.write(f"{len(compiled)} compiled file(s) below {output}/ are fresh.\n")
        return
    changed = write_compiled(compiled, output)
    for each in compiled:
        mark = "written" if output / each.path in changed else "unchanged"
        sys.stdout.write(f"{output / each.path}  {mark}, {len(each.text.encode()) / 1000:.1f} kB\n")
    for each in compiled if kubernetes else []:
        if named[each.target].backend == "vertex":
            continue  # no Kubernetes there
        from stepworks.kubeflow.manifest import manifest, manifest_path

        path = write_atomically(output / manifest_path(each), manifest(each).encode())
        sys.stdout.write(f"{path}  written: kubectl apply -n NAMESPACE -f {path}\n")


def _without_vertex(targets: Iterable[Target]) -> list[Target]:
    """The targets of Kubeflow; say which others are left out."""
    chosen = []
    for target in targets:
        if target.backend == "vertex":
            sys.stdout.write(f"The target {target.name} is left as it is: compiling for Vertex AI takes {INSTALL}\n")
        else:
            chosen.append(target)
    return chosen
