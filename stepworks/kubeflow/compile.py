"""Compiling pipelines to IR YAML: the same bytes from the same source and target, on any machine."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from stepworks.errors import ConfigurationError, UserError
from stepworks.files import write_atomically
from stepworks.kubeflow.component import is_unplaced
from stepworks.kubeflow.ir_yaml import FOR_VERTEX, minimize, to_yaml
from stepworks.kubeflow.pipeline import Pipeline
from stepworks.kubeflow.release import ReleaseIndex, sha256_of
from stepworks.placement.target import Target

DIFFERENCE_LINES = 40


@dataclass(frozen=True)
class Compiled:
    """The IR of one pipeline for one target. `path` is relative to the folder of compiled files."""

    pipeline: str
    version: str
    target: str
    text: str

    @property
    def path(self) -> Path:
        """Where the IR is kept: `<pipeline>/<version>/<target>.yaml`."""
        return Path(self.pipeline) / self.version / f"{self.target}.yaml"


def compile_pipeline(pipeline: Pipeline, target: Target) -> Compiled:
    """Compile a pipeline for a target.

    Raises:
        ConfigurationError: A task was not placed, or the target lacks what it asks for.
    """
    graph = pipeline.build(target).graph
    _refuse_unplaced(graph, pipeline, target)
    if target.backend == "vertex":
        _refuse_platform(graph, pipeline, target)
    return Compiled(pipeline.name, pipeline.version, target.name, _header(pipeline, target) + _to_yaml(graph))


def _refuse_unplaced(graph: Any, pipeline: Pipeline, target: Target) -> None:
    executors = graph.pipeline_spec.deployment_spec["executors"]
    unplaced = [
        name.removeprefix("exec-")
        for name, executor in executors.items()
        if "container" in executor and is_unplaced(executor["container"]["image"])
    ]
    if unplaced:
        raise ConfigurationError(
            f"Tasks of {pipeline.name} have no placement for the target {target.name}",
            received=", ".join(sorted(unplaced)),
            expected="each task given to stepworks.kubeflow.place.place",
            what_to_do="Call place(task, role) for each of them in the pipeline.",
        )


def _refuse_platform(graph: Any, pipeline: Pipeline, target: Target) -> None:
    """Refuse Kubernetes settings for Vertex AI, whose loader takes a file of one document."""
    platforms = graph.platform_spec.platforms
    if platforms:
        executors = json_format.MessageToDict(platforms["kubernetes"]).get("deploymentSpec", {}).get("executors", {})
        raise ConfigurationError(
            f"{pipeline.name} has Kubernetes settings, which Vertex AI refuses",
            received=", ".join(name.removeprefix("exec-") for name in sorted(executors)) or "settings of the pipeline",
            expected=f"none for the target {target.name}",
            what_to_do="Leave functions of kfp.kubernetes to targets of Kubeflow: `if not on_vertex():`",
        )


def _header(pipeline: Pipeline, target: Target) -> str:
    use = "submit it to Vertex AI Pipelines" if target.backend == "vertex" else "upload it to Kubeflow"
    lines = [
        f"# {pipeline.name} {pipeline.version} for the target {target.name}: {pipeline.summary}",
        f"# Compiled from the source by `stepworks compile`; {use} as it is.",
        *([FOR_VERTEX] if target.backend == "vertex" else []),
    ]
    return "".join(f"{line}\n" for line in lines)


def _to_yaml(graph: Any) -> str:
    """Write the IR: the pipeline's document, and the platform's where it has one.

    kfp's own writer puts the parameters' defaults into a leading comment, and breaks the file when one has
    several lines.
    """
    messages = [graph.pipeline_spec, graph.platform_spec]
    documents = [document for document in map(json_format.MessageToDict, messages) if document]
    minimize(documents[0])
    return to_yaml(documents)


def write_compiled(compiled: Collection[Compiled], folder: Path) -> list[Path]:
    """Write each IR below `folder`; return the files that changed.

    Raises:
        UserError: A released version would change. Nothing is written; the message names the version that is due.
    """
    refuse_released(compiled, folder)
    changed = []
    for each in compiled:
        path = folder / each.path
        content = each.text.encode()
        if not path.exists() or path.read_bytes() != content:
            changed.append(write_atomically(path, content))
    return changed


def refuse_released(compiled: Iterable[Compiled], folder: Path) -> None:
    """See that no released version would change.

    Raises:
        UserError: Some would; the message names each, and the version that is due.
    """
    index = ReleaseIndex.read(folder)
    changed = [
        each
        for each in compiled
        if (released := index.find(each.pipeline, each.version, each.target))
        and sha256_of(each.text.encode()) != released.sha256
    ]
    if changed:
        index.check_files(folder)
        told = [_what_would_change(each, folder / each.path) for each in changed]
        raise UserError(
            f"{len(changed)} released file(s) would change; a released version never does",
            received="\n" + "\n".join(told),
            expected="the same bytes as released, or a new version",
            what_to_do="Set the version that is due in the pipeline's decorator and compile again; keep the old files.",
        )


def _what_would_change(compiled: Compiled, path: Path) -> str:
    """What a released version would become, and the version that is due for it."""
    # Compiling mostly needs none of these.
    from stepworks.kubeflow.diff.change import version_due
    from stepworks.kubeflow.diff.compare import compare
    from stepworks.kubeflow.diff.render import in_one_line
    from stepworks.kubeflow.ir.read import parse_ir, read_ir

    difference = compare(read_ir(path), parse_ir(compiled.text, path))
    # Bytes that mean the same are new bytes all the same.
    due = version_due(compiled.version, "patch" if difference.due == "none" else difference.due)
    told = in_one_line(difference)
    return f"{compiled.pipeline} {compiled.version} for {compiled.target}, version {due} is due: {told}"


def check_compiled(compiled: Collection[Compiled], folder: Path, *, complete: bool = False) -> None:
    """Compare each IR with the file that is kept below `folder`.

    Args:
        compiled: What the source compiles to.
        folder: The folder of compiled files.
        complete: Whether it is everything that the source compiles to, so that another file is left over.

    Raises:
        UserError: A file is missing, stale or left over, and the message shows the first differences; or a released
            version would change.
    """
    refuse_released(compiled, folder)
    left_over = [f"{path} (kept) is of no pipeline and target" for path in _left_over(compiled, folder, complete)]
    differences = [told for each in compiled if (told := _difference(each, folder / each.path))]
    if differences or left_over:
        advice = ["Run: make compile, review the change, and commit it with the source."] if differences else []
        advice += ["Delete what is left over."] if left_over else []
        raise UserError(
            f"{len(differences) + len(left_over)} compiled file(s) are not what the source compiles to",
            received="\n" + "\n".join([*differences, *left_over]),
            expected="no difference",
            what_to_do=" ".join(advice),
        )


def _difference(compiled: Compiled, path: Path) -> str:
    """The first lines in which a kept file differs from what the source compiles to; empty when it does not."""
    if not path.exists():
        return f"{path} is missing"
    # Bytes, since releases are digests of bytes: a checkout with other line ends is another file.
    content = path.read_bytes()
    if content == compiled.text.encode():
        return ""
    kept, now = content.decode(errors="replace").splitlines(), compiled.text.splitlines()
    names = (f"{path} (kept)", f"{path} (compiled now)")
    lines = list(difflib.unified_diff(kept, now, *names, n=2, lineterm=""))
    if not lines:
        return f"{path} (kept) differs in its line ends alone; Git must not change them (core.autocrlf)"
    more = [f"... and {len(lines) - DIFFERENCE_LINES} more lines"] if len(lines) > DIFFERENCE_LINES else []
    return "\n".join(lines[:DIFFERENCE_LINES] + more)


def _left_over(compiled: Collection[Compiled], folder: Path, complete: bool) -> list[Path]:
    """Kept files that nothing compiles to. What is released stays, and so do earlier versions of a pipeline."""
    if not complete:
        return []
    index = ReleaseIndex.read(folder)
    current = {each.pipeline: each.version for each in compiled}
    known = {folder / each.path for each in compiled}
    return [
        path
        for path in sorted(folder.glob("*/*/*.yaml"))
        if path not in known
        and current.get(path.parts[-3], path.parts[-2]) == path.parts[-2]
        and not index.is_released(path.parts[-3], path.parts[-2], path.stem)
    ]
