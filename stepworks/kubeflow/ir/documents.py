"""Which documents of a YAML file are a compiled pipeline, and what a file is that is none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from stepworks.kubeflow.ir.located import Document, LocatedList, LocatedMap, Position, refuse

_NATIVE_GROUP = "pipelines.kubeflow.org/"
_EXPECTED = "IR of KFP 2: a document with schemaVersion and root, and a second one with platforms where it needs it"
_WANT_IR = "Give the file that `stepworks compile` or `kfp dsl compile` wrote."


def find_documents(documents: Sequence[Document], path: Path) -> LocatedMap:
    """Find the pipeline's document and the platform's, and lay them into one mapping.

    Raises:
        ConfigurationError: There is no pipeline, more than one, or something else; the message says what it is.
    """
    held = [document for document in documents if document.value is not None]
    if not held:
        refuse(path, None, "the file is empty", received="no document", expected=_EXPECTED, do=_WANT_IR)
    pipelines: list[tuple[LocatedMap, Position]] = []
    platforms: list[tuple[LocatedMap, Position]] = []
    for document in held:
        for part in _parts(document, path):
            (platforms if "platforms" in part and "root" not in part else pipelines).append((part, document.position))
    if len(pipelines) != 1:
        position = pipelines[1][1] if pipelines else held[0].position
        number = len(pipelines) or "no"
        received = f"{number} documents with a pipeline"
        refuse(
            path, position, "the file does not hold one pipeline", received=received, expected=_EXPECTED, do=_WANT_IR
        )
    if len(platforms) > 1:
        received = f"{len(platforms)} documents with platforms"
        refuse(
            path,
            platforms[1][1],
            "the file holds more than one platform document",
            received=received,
            expected=_EXPECTED,
            do="Merge them into one: KFP reads only one.",
        )
    return _merged(pipelines[0][0], platforms[0][0] if platforms else LocatedMap())


def _parts(document: Document, path: Path) -> list[LocatedMap]:
    """The mappings of a document that are of a pipeline: itself, or what it wraps."""
    value = document.value
    if not isinstance(value, LocatedMap):
        what = "a list" if isinstance(value, LocatedList) else "a single text or number"
        _refuse_kind(path, document.position, what, _WANT_IR)
    if str(value.get("apiVersion", "")).startswith(_NATIVE_GROUP):
        if value.get("kind") == "Pipeline":
            return []  # stands beside its PipelineVersion and holds no tasks
        specification = value.get("spec")
        inner = specification if isinstance(specification, LocatedMap) else LocatedMap()
        held = [inner.get("pipelineSpec"), inner.get("platformSpec")]
        return [part for part in held if isinstance(part, LocatedMap) and part]
    job = value.get("pipelineSpec")
    if isinstance(job, LocatedMap) and "root" in job:
        return [job]  # a PipelineJob, as Vertex AI takes it
    if "platforms" not in value and ("root" not in value or "apiVersion" in value):
        _refuse_other(value, document.position, path)
    return [value]


def _refuse_other(value: LocatedMap, position: Position, path: Path) -> NoReturn:
    """Say what a mapping is that is no IR."""
    kind = value.get("kind")
    if str(value.get("apiVersion", "")).startswith("argoproj.io/"):
        do = "It is what KFP 1 compiled to, or what the server makes of IR. Compile the pipeline with kfp 2."
        _refuse_kind(path, position, f"an Argo {kind}", do)
    if "apiVersion" in value and kind:
        _refuse_kind(path, position, f"a Kubernetes manifest of the kind {kind}", _WANT_IR)
    if "implementation" in value and ("name" in value or "inputs" in value or "outputs" in value):
        do = "Load it with kfp.components.load_component_from_file, use it in a pipeline, and compile that."
        _refuse_kind(path, position, "a component of KFP 1", do)
    if "deploymentSpec" in value or "components" in value or "schemaVersion" in value:
        _refuse_kind(path, position, "IR without a root", "Compile the pipeline again; the file was cut or edited.")
    keys = ", ".join(list(value)[:5]) or "nothing"
    _refuse_kind(path, position, f"a mapping with {keys}", _WANT_IR)


def _refuse_kind(path: Path, position: Position, what: str, do: str) -> NoReturn:
    refuse(path, position, "the file is not a compiled pipeline", received=what, expected=_EXPECTED, do=do)


def _merged(pipeline: LocatedMap, platform: LocatedMap) -> LocatedMap:
    """One mapping of both, whose keys stand where they stood."""
    merged = LocatedMap()
    for source, keys in ((pipeline, list(pipeline)), (platform, ["platforms"])):
        for key in keys:
            if key in source:
                _copy(source, merged, key)
    return merged


def _copy(source: LocatedMap, target: LocatedMap, key: str) -> None:
    value: Any = source[key]
    target[key] = value
    target.positions[key] = source.positions[key]
    target.key_positions[key] = source.key_positions[key]
