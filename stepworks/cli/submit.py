"""`stepworks run --host`: a run in Kubeflow, followed to its end."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from stepworks.cli.deliver import refuse_stale, show_upload
from stepworks.kubeflow.arguments import declared_in_ir, parse_arguments
from stepworks.kubeflow.delivery.login import Login
from stepworks.kubeflow.delivery.runs import TaskState, follow, start_run
from stepworks.kubeflow.delivery.server import connect
from stepworks.kubeflow.delivery.upload import upload
from stepworks.kubeflow.delivery.version_file import find_version_file
from stepworks.kubeflow.pipeline import load_pipeline
from stepworks.report.wording import duration


def run_in_kubeflow(
    login: Login,
    pipeline: str,
    assignments: Sequence[str],
    *,
    version: str | None,
    target: str | None,
    experiment: str,
    service_account: str | None,
    compiled: Path,
    targets: Path,
) -> None:
    """Upload a version where it is not there yet, start a run of it, and show its tasks until it ends.

    Raises:
        UserError: The pipeline, the version, a parameter or the login is wrong; nothing was started.
        StepFailedError: The run failed or was cancelled.
        DeliveryError: Kubeflow refuses, or does not answer.
    """
    name = load_pipeline(pipeline).name if pipeline.endswith(".py") else pipeline
    file = find_version_file(compiled, name, version=version, target=target)
    refuse_stale(file, targets)
    arguments = parse_arguments(name, declared_in_ir(file.ir.inputs), assignments)
    server = connect(login)
    uploaded = upload(server, file)
    show_upload(server, uploaded)
    run = start_run(server, uploaded, arguments, experiment=experiment, service_account=service_account)
    url = server.run_url(run.run_id)
    sys.stdout.write(f"{run.display_name}  started\n  {url}\n")
    sys.stdout.flush()
    try:
        follow(server, run.run_id, _show_task)
    except KeyboardInterrupt:
        sys.stderr.write(f"\nNo longer followed; the run goes on: {url}\n")
        raise SystemExit(130) from None
    sys.stdout.write(f"{run.display_name}  succeeded\n")


def _show_task(task: TaskState) -> None:
    state = "from the cache" if task.state == "SKIPPED" else task.state.lower()
    time = f"  {duration(task.seconds)}" if task.seconds is not None else ""
    sys.stdout.write(f"  {task.name:<24} {state}{time}\n")
    sys.stdout.flush()
