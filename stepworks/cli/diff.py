"""`stepworks diff`: what changed between compiled pipelines, in words."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class DiffFormat(StrEnum):
    """How a difference is written."""

    TEXT = "text"
    MARKDOWN = "markdown"
    JSON = "json"


def diff(
    before: Annotated[
        Path, typer.Argument(metavar="BEFORE", help="The earlier compiled file, or folder of compiled files.")
    ],
    after: Annotated[Path, typer.Argument(metavar="AFTER", help="The later one.")],
    format_: Annotated[DiffFormat, typer.Option("--format", help="Markdown is for pull requests.")] = DiffFormat.TEXT,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file.")] = None,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit with 1 when something differs.")] = False,
) -> None:
    """Say what changed between two compiled pipelines, and whether a patch, minor or major version is due."""
    from stepworks.files import write_atomically
    from stepworks.kubeflow.diff.files import diff_paths
    from stepworks.kubeflow.diff.render import to_json, to_markdown, to_text

    files = diff_paths(before, after)
    render = {DiffFormat.TEXT: to_text, DiffFormat.MARKDOWN: to_markdown, DiffFormat.JSON: to_json}[format_]
    if output:
        write_atomically(output, render(files).encode())
    else:
        sys.stdout.write(render(files))
    if exit_code and any(each.changes or each.difference is None for each in files):
        raise typer.Exit(1)
