"""`stepworks run`: a pipeline on this machine, its report, and what is served when it has ended."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from stepworks.cli.summary import command_name, quoted, show_summary
from stepworks.errors import StepworksError, UserError
from stepworks.kubeflow.arguments import declared_by, parse_arguments
from stepworks.kubeflow.local.run import LocalRun, Run, execute, local_run
from stepworks.kubeflow.local.step_log import last_said
from stepworks.kubeflow.pipeline import load_pipeline
from stepworks.kubeflow.step_inputs import of_steps
from stepworks.report.documents import DeploymentDocument


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
    parameters, inputs = of_steps(assignments)
    arguments = parse_arguments(pipeline.name, declared_by(pipeline), parameters)
    stream = sys.stdout  # this one, also while kfp's own printing is caught
    with local_run(pipeline, arguments, home, inputs) as run:
        if keep_serving or rehearse_roll_back:
            _require_deployment(run, "--keep-serving" if keep_serving else "--rehearse-roll-back")
        try:
            execute(run, stream)
            if rehearse_roll_back:
                run.write_report()  # an interrupted rehearsal takes nothing from the run
                _rehearse(run, run.documents_of(DeploymentDocument)[-1], stream)
        except BaseException as error:
            error.add_note(told_report(run))
            raise
        show_summary(run, run.write_report(), stream, keep_serving=keep_serving)
        for deployment in run.documents_of(DeploymentDocument):
            _ask_once(deployment, stream)
            if keep_serving:
                _leave_serving(run, deployment, stream)


def told_report(run: Run) -> str:
    """Write the report of a run that ended badly, and say where it is; what ended the run is not to be covered.

    Of the steps that were interrupted it says what they said last: how they let go of what they held.
    """
    interrupted = [step for step in run.steps if step.state == "cancelled" and step.log]
    told = [(step.name, last_said(run.folder / "logs" / str(step.log))) for step in interrupted]
    lines = [f"The last words of {name}: {words}" for name, words in told if words]
    try:
        lines.append(f"The report of the run: {run.write_report().as_uri()}")
    except StepworksError as error:
        lines.append(f"The run has no report. {error}")
    return "\n".join(lines)


def _require_deployment(run: LocalRun, option: str) -> None:
    if not any(step.component == "deploy" for step in run.steps):
        raise UserError(
            f"The pipeline {run.pipeline.name} deploys no model",
            received=option,
            expected="a pipeline with the step deploy",
            what_to_do=f"Leave {option} out.",
        )


def _rehearse(run: LocalRun, deployment: DeploymentDocument, stream: TextIO) -> None:
    from stepworks.serving.rehearsal import rehearse_roll_back

    stream.write("Rehearsing: a broken copy of the model is rolled out, and has to come back …\n")
    stream.flush()
    document = rehearse_roll_back(run.supervisor, deployment)
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
        f"Ask it:   {command_name()} ask {url} {quoted(deployment.model_directory)} --name {deployment.service}\n"
        f"Stop it:  kill {process.pid}\n"
    )
