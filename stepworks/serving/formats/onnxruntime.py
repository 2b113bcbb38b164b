"""The format of our own server: one ONNX graph, with the transform inside."""

from __future__ import annotations

from pathlib import Path

from stepworks.data.transform_parameters import TransformParameters
from stepworks.files import write_atomically
from stepworks.serving.formats.sources import Source
from stepworks.serving.graph import build_graph
from stepworks.serving.manifest import MODEL_FILE


def write(source: Source, package: Path) -> None:
    """Write the graph of a table's model."""
    graph = build_graph(source.network(), TransformParameters.read(source.directory))
    write_atomically(package / MODEL_FILE, graph.SerializeToString(deterministic=True))
