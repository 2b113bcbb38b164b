"""`stepworks run`: a pipeline on this machine, its report, and what is served when it has ended."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from stepworks.cli.summary import command_name, documents_of, show_summary
from stepworks.errors import StepworksError, UserError
from stepworks.files import write_atomically
from stepworks.kubeflow.local.arguments import parse_arguments
from stepworks.kubeflow.local.run import LocalRun, execute, local_run
from stepworks.kubeflow.pipeline import load_pipeline
from stepworks.report.documents import CanaryDocument, DeploymentDocument


def run_locally(
    name: str, assignments: Sequence[str], home: Path, *, keep_serving: bool, rehearse_roll_back: bool
) -> None:
    """Run a pipeline; write its report whether it succeeds or fails.

    Raises:
        UserError: The pipeline or a parameter is wrong; nothing was started.
        StepFailedError: A step failed.
        ServingError: The rehearsed roll-back did not end as it has to.
    """
    pipeline = load_pipeline(name)
    arguments = parse_arguments(pipeline, assignments)
    stream = sys.stdout  # this one, also while kfp's own printing is caught
    with local_run(pipeline, arguments, home) as run:
        try:
            execute(run, stream)
            if rehearse_roll_back:
                _rehearse(run, _deployment(run, "--rehearse-roll-back"), stream)
        except StepworksError as error:
            error.add_note(f"The report of the run: {_write_report(run).as_uri()}")
            raise
        report = _write_report(run)
        show_summary(run, report, stream)
        for deployment in documents_of(run, DeploymentDocument):
            _ask_once(deployment, stream)
        if keep_serving:
            _leave_serving(run, _deployment(run, "--keep-serving"), stream)


def _write_report(run: LocalRun) -> Path:
    from stepworks.report.page import run_report

    return write_atomically(run.folder / "report.html", run_report(run.record(), run.documents).encode())


def _deployment(run: LocalRun, option: str) -> DeploymentDocument:
    deployments = documents_of(run, DeploymentDocument)
    if not deployments:
        raise UserError(
            f"The pipeline {run.pipeline.name} deploys no model",
            received=option,
            expected="a pipeline with a deploy step",
            what_to_do=f"Leave {option} out.",
        )
    return deployments[-1]


def _rehearse(run: LocalRun, deployment: DeploymentDocument, stream: TextIO) -> None:
    from stepworks.serving.rehearsal import rehearse_roll_back

    stream.write("Rehearsing: a broken copy of the model is rolled out, and has to come back …\n")
    stream.flush()
    document: CanaryDocument = rehearse_roll_back(run.supervisor, deployment)
    run.documents.setdefault("rehearsal", []).append(document)


def _ask_once(deployment: DeploymentDocument, stream: TextIO) -> None:
    """Ask the served model for one recorded row, through the address that callers use."""
    from stepworks.serving.client import ask
    from stepworks.serving.manifest import Samples

    samples = Samples.read(Path(deployment.model_directory))
    answer = ask(deployment.url, deployment.service, samples.rows[:1])[0]
    stream.write(
        f"Asked {deployment.service} for a recorded row: probability {answer:.4f}, "
        f"offline {samples.probabilities[0]:.4f}.\n"
    )


def _leave_serving(run: LocalRun, deployment: DeploymentDocument, stream: TextIO) -> None:
    from stepworks.serving.deploy import server_process

    process = run.supervisor.release(server_process(deployment.service, deployment.candidate_version))
    url = process.ready_url.partition("/v2/")[0]
    stream.write(
        f"{deployment.service} stays up at {url} (process {process.pid}).\n"
        f"Ask it:   {command_name()} ask {url} {deployment.model_directory} --name {deployment.service}\n"
        f"Stop it:  kill {process.pid}\n"
    )
