"""What a run says when it has ended: metrics, verdict, roll-out, and where to go from here."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import TextIO

from stepworks.kubeflow.local.run import Run
from stepworks.report.canary_document import CanaryDocument
from stepworks.report.documents import (
    ComparisonDocument,
    DeploymentDocument,
    EvaluationDocument,
    VerdictDocument,
)
from stepworks.report.wording import clipped, duration, interval, metric_name, number, signed


def show_summary(run: Run, report: Path, stream: TextIO, *, keep_serving: bool) -> None:
    """Print the metrics and what became of the model, name the report, and say how to serve the model again."""
    lines = []
    for evaluation in run.documents_of(EvaluationDocument):
        lines += ["", *_metric_lines(evaluation, run.documents_of(ComparisonDocument)), ""]
    for verdict in run.documents_of(VerdictDocument):
        overridden = f" Overridden: {verdict.override}" if verdict.override else ""
        lines.append(f"Gate: {verdict.verdict}. {verdict.reason}{overridden}")
    for canary in run.documents_of(CanaryDocument):
        title = "Rehearsed roll-back" if canary.rehearsal else "Roll-out"
        lines.append(f"{title}: {canary.outcome.replace('_', ' ')}. {canary.reason}")
    lines += [
        f"{step.name} gave {name}: {clipped(str(value), 200)}"
        for step in run.steps
        for name, value in step.values.items()
    ]
    lines += ["", f"The run took {duration(run.seconds)}. Its report: {report.as_uri()}"]
    for deployment in [] if keep_serving else run.documents_of(DeploymentDocument):
        model = quoted(deployment.model_directory)
        lines += [
            f"Serve the model again:  {command_name()} serve {model}",
            f"and ask it:             {command_name()} ask http://127.0.0.1:8080 {model}",
        ]
    stream.write("\n".join(lines) + "\n")


def command_name() -> str:
    """How the user called this command, so that the commands that are shown can be copied."""
    called = sys.argv[0]
    if called.endswith("__main__.py"):
        return f"{shlex.quote(sys.executable)} -m stepworks"
    return "stepworks" if shutil.which("stepworks") == called else shlex.quote(called)


def _metric_lines(evaluation: EvaluationDocument, comparisons: list[ComparisonDocument]) -> list[str]:
    rows = [("On the test rows", "Value", "95 % interval")]
    rows += [(metric_name(metric.name), number(metric.value, 4), interval(metric, 4)) for metric in evaluation.metrics]
    rows += [
        (
            f"{metric_name(each.metric)} against {each.reference} ({number(each.reference_value, 4)})",
            signed(each.difference.value, 4),
            interval(each.difference, 4),
        )
        for document in comparisons
        for each in document.comparisons
    ]
    width = max(len(name) for name, _, _ in rows)
    return [f"{name:<{width}}  {value:>8}  {bounds:>19}" for name, value, bounds in rows]


def quoted(path: str) -> str:
    """A path as it is written in a command: from here where it is below this folder, and quoted where it has to be."""
    short = Path(path).relative_to(Path.cwd()) if Path(path).is_relative_to(Path.cwd()) else path
    return shlex.quote(str(short))
