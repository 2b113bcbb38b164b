"""What a run says when it has ended: metrics, verdict, roll-out, and where to go from here."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.table import Table

from stepworks.kubeflow.local.progress import format_seconds
from stepworks.kubeflow.local.run import LocalRun
from stepworks.report.documents import (
    CanaryDocument,
    ComparisonDocument,
    DeploymentDocument,
    EvaluationDocument,
    Interval,
    VerdictDocument,
)

_Kind = TypeVar("_Kind")


def documents_of(run: LocalRun, kind: type[_Kind]) -> list[_Kind]:
    """The documents of one kind that the run's steps left, in running order."""
    return [document for documents in run.documents.values() for document in documents if isinstance(document, kind)]


def show_summary(run: LocalRun, report: Path, console: Console) -> None:
    """Print the metrics and what became of the model, and name the report."""
    for evaluation in documents_of(run, EvaluationDocument):
        console.print(_metrics_table(evaluation, documents_of(run, ComparisonDocument)))
    for verdict in documents_of(run, VerdictDocument):
        console.print(f"Gate: {verdict.verdict}. {verdict.reason}", highlight=False)
    for canary in documents_of(run, CanaryDocument):
        title = "Rehearsed roll-back" if canary.rehearsal else "Roll-out"
        console.print(f"{title}: {canary.outcome.replace('_', ' ')}. {canary.reason}", highlight=False)
    console.print(f"\nThe run took {format_seconds(run.seconds)}. Its report: {report.as_uri()}", highlight=False)
    for deployment in documents_of(run, DeploymentDocument):
        model = _shortest(Path(deployment.model_directory))
        console.print(
            "Serve the model again:  stepworks serve "
            f"{model}\nand ask it:             stepworks ask http://127.0.0.1:8080 {model}",
            highlight=False,
            soft_wrap=True,
        )


def _metrics_table(evaluation: EvaluationDocument, comparisons: list[ComparisonDocument]) -> Table:
    table = Table(box=None, pad_edge=False, title="", title_justify="left")
    table.add_column("On the test rows")
    table.add_column("Value", justify="right")
    table.add_column("95 % interval", justify="right")
    for metric in evaluation.metrics:
        table.add_row(metric.name, f"{metric.value:.4f}", _interval(metric))
    for comparison in (each for document in comparisons for each in document.comparisons):
        table.add_row(
            f"{comparison.metric} against {comparison.reference} ({comparison.reference_value:.4f})",
            f"{comparison.difference.value:+.4f}",
            _interval(comparison.difference, sign="+"),
        )
    return table


def _interval(interval: Interval, sign: str = "") -> str:
    if interval.low is None or interval.high is None:
        return ""
    return f"{interval.low:{sign}.4f} to {interval.high:{sign}.4f}"


def _shortest(path: Path) -> Path:
    """The path from here where it is below this folder, so that a command can be read and copied."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
