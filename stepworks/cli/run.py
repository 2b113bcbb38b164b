"""`stepworks run`: a pipeline on this machine, its report, and what is served when it has ended."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from stepworks.cli.summary import show_summary
from stepworks.kubeflow.local.arguments import parse_arguments
from stepworks.kubeflow.local.run import LocalRun, execute, local_run
from stepworks.kubeflow.pipeline import load_pipeline
from stepworks.report.documents import write_atomically


def run_locally(
    name: str, assignments: Sequence[str], home: Path, *, keep_serving: bool, rehearse_roll_back: bool
) -> None:
    """Run a pipeline; write its report whether it succeeds or fails.

    Raises:
        UserError: The pipeline or a parameter is wrong; nothing was started.
        StepFailedError: A step failed.
    """
    pipeline = load_pipeline(name)
    arguments = parse_arguments(pipeline, assignments)
    console = Console(file=sys.stdout)  # this one, also while kfp's own printing is caught
    with local_run(pipeline, arguments, home) as run:
        try:
            execute(run, console)
        finally:
            report = _write_report(run)
        show_summary(run, report, console)


def _write_report(run: LocalRun) -> Path:
    from stepworks.report.page import run_report

    return write_atomically(run.folder / "report.html", run_report(run.record(), run.documents).encode())
