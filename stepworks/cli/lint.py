"""`stepworks lint`: what would fail or waste accelerators in compiled pipelines."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from datetime import date

    from stepworks.kubeflow.lint.check import Report
    from stepworks.kubeflow.lint.configuration import Configuration
    from stepworks.kubeflow.lint.finding import Severity

CONFIGURATION = Path("stepworks.lint.yaml")
"""The configuration that is taken when none is named and this one is there."""


def lint(
    path: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE", help="Compiled pipelines (IR YAML), or folders of them.", show_default=False),
    ] = None,
    format_: Annotated[Literal["text", "json", "sarif"], typer.Option("--format", help="What to write.")] = "text",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file.")] = None,
    select: Annotated[
        list[str] | None, typer.Option("--select", metavar="RULE", help="Look for this rule, or family of rules, only.")
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option("--ignore", metavar="RULE", help="Do not look for this rule or family.")
    ] = None,
    fail_on: Annotated[
        Literal["error", "warning", "info"], typer.Option(help="Exit with 1 for findings that are at least so bad.")
    ] = "warning",
    max_gpus: Annotated[
        int | None, typer.Option(min=0, help="The most accelerators that a pipeline may hold at once.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help=f"The configuration; {CONFIGURATION} when it is there.")
    ] = None,
    baseline: Annotated[Path | None, typer.Option("--baseline", help="Accept what this file lists.")] = None,
    write_baseline: Annotated[
        Path | None, typer.Option("--write-baseline", help="List what was found in this file, to be accepted.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Count the hints, and do not list them.")] = False,
    explain: Annotated[str | None, typer.Option("--explain", metavar="RULE", help="Say what a rule means.")] = None,
) -> None:
    """Find what would fail, wait for ever or waste accelerators in compiled pipelines.

    Exits with 0, with 1 for findings, with 2 when a file is no compiled pipeline or the configuration is wrong.
    """
    from stepworks.kubeflow.lint.configuration import write_baseline as write_exceptions
    from stepworks.kubeflow.lint.finding import Severity

    if explain is not None:
        _explain(explain)
        return
    today = _today()
    report = _report(path or [], _configuration(config, baseline), today, select or [], ignore or [], max_gpus)
    failing = report.at_least(Severity(fail_on))
    if write_baseline is not None:
        write_exceptions(write_baseline, failing, today)
        sys.stdout.write(f"{write_baseline} written: it accepts {len(failing)} of the findings.\n")
        return
    _show(report, format_, output, Severity.WARNING if quiet else Severity.INFO)
    if failing:
        raise typer.Exit(1)


def _today() -> date:
    from datetime import UTC, datetime

    return datetime.now(UTC).date()


def _report(
    paths: list[Path],
    configuration: Configuration,
    today: date,
    select: list[str],
    ignore: list[str],
    max_gpus: int | None,
) -> Report:
    from stepworks.errors import ParameterError
    from stepworks.kubeflow.lint.check import lint_files

    if not paths:
        raise ParameterError(
            "There is nothing to lint",
            expected="files or folders of compiled pipelines",
            what_to_do="Name them, for example: stepworks lint compiled",
        )
    return lint_files(paths, configuration, today=today, select=select, ignore=ignore, max_gpus=max_gpus)


def _configuration(config: Path | None, baseline: Path | None) -> Configuration:
    from stepworks.kubeflow.lint.configuration import Configuration, read_configuration

    path = config or (CONFIGURATION if CONFIGURATION.exists() else None)
    configuration = read_configuration(path) if path else Configuration()
    return configuration.with_baseline(baseline) if baseline else configuration


def _explain(id_: str) -> None:
    from stepworks.kubeflow.lint.check import chosen_rules
    from stepworks.kubeflow.lint.configuration import Configuration
    from stepworks.kubeflow.lint.documentation import explanation

    rules = chosen_rules([id_], [], Configuration())
    told = "\n\n".join(f"{rule.id}  {explanation(rule)}".replace("**", "") for rule in rules.values())
    paragraphs = [textwrap.fill(paragraph, 100) for paragraph in told.split("\n\n")]
    sys.stdout.write("\n\n".join(paragraphs) + "\n")


def _show(report: Report, format_: str, output: Path | None, least: Severity) -> None:
    """Write the report to the terminal, in colours, or to where it is sent; as text, what is at least so bad."""
    from stepworks.files import write_atomically
    from stepworks.kubeflow.lint.machine import json_text, sarif_text
    from stepworks.kubeflow.lint.text import plain_text, summary, text_lines

    writers: dict[str, Callable[[Report], str]] = {
        "text": partial(plain_text, least=least),
        "json": json_text,
        "sarif": sarif_text,
    }
    write = writers[format_]
    if output is not None:
        write_atomically(output, write(report).encode())
        sys.stdout.write(f"{output} written. {summary(report)}\n")
    elif format_ == "text" and sys.stdout.isatty():
        from rich.console import Console
        from rich.text import Text

        console = Console(highlight=False)
        for line in text_lines(report, least, width=max(60, min(console.width, 140))):
            console.print(Text.assemble(*line), soft_wrap=True)
    else:
        sys.stdout.write(write(report))
