"""`stepworks pipelines`: what there is to run."""

from __future__ import annotations

import inspect

from rich.console import Console
from rich.table import Table

from stepworks.kubeflow.pipeline import load_pipeline, load_pipelines


def show_pipelines() -> None:
    """Print every pipeline with its version and what it does."""
    table = Table(box=None, pad_edge=False)
    for heading in ("Pipeline", "Version", "What it does"):
        table.add_column(heading)
    for pipeline in load_pipelines().values():
        table.add_row(pipeline.name, pipeline.version, pipeline.summary)
    Console().print(table)


def show_pipeline(name: str) -> None:
    """Print a pipeline's parameters with their types and defaults."""
    pipeline = load_pipeline(name)
    console = Console()
    console.print(f"{pipeline.name} {pipeline.version}: {pipeline.summary}\n", highlight=False)
    table = Table(box=None, pad_edge=False)
    for heading in ("Parameter", "Type", "Default"):
        table.add_column(heading, overflow="fold")
    for parameter in pipeline.parameters().values():
        default = "(must be given)" if parameter.default is inspect.Parameter.empty else repr(parameter.default)
        table.add_row(parameter.name, getattr(parameter.annotation, "__name__", ""), default)
    console.print(table, highlight=False)
