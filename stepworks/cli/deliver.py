"""`stepworks upload`, `schedule` and `deploy`: compiled pipelines into Kubeflow."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stepworks.cli.options import (
    CaFileOption,
    CompiledOption,
    EnvironmentOption,
    HostOption,
    NamespaceOption,
    ParametersOption,
    ProjectOption,
    TargetOption,
    TargetsOption,
    TokenOption,
)

if TYPE_CHECKING:
    from stepworks.kubeflow.delivery.replace import Put
    from stepworks.kubeflow.delivery.schedule import Owner
    from stepworks.kubeflow.delivery.schedule_spec import ScheduleSpec
    from stepworks.kubeflow.delivery.server import Kubeflow
    from stepworks.kubeflow.delivery.upload import Uploaded
    from stepworks.kubeflow.delivery.version_file import VersionFile


def upload(
    pipeline: Annotated[
        list[str] | None, typer.Argument(metavar="PIPELINE", help="Pipelines to upload; all when none is named.")
    ] = None,
    target: TargetOption = None,
    version: Annotated[str | None, typer.Option("--version", help="The version; the newest when not given.")] = None,
    compiled: CompiledOption = Path("compiled"),
    targets: TargetsOption = Path("targets"),
    host: HostOption = None,
    namespace: NamespaceOption = None,
    token_from: TokenOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """Upload compiled pipelines to Kubeflow. What is there already with the same bytes is left alone."""
    from stepworks.kubeflow.delivery.login import login_of
    from stepworks.kubeflow.delivery.server import connect
    from stepworks.kubeflow.delivery.upload import upload as upload_file
    from stepworks.kubeflow.delivery.version_file import compiled_pipelines, find_version_file

    names = pipeline or compiled_pipelines(compiled)
    files = [find_version_file(compiled, name, version=version, target=target) for name in names]
    for file in files:
        refuse_stale(file, targets)
    server = connect(login_of(host=host, namespace=namespace, token_from=token_from, ca_file=ca_file))
    for file in files:
        show_upload(server, upload_file(server, file))


def refuse_stale(file: VersionFile, targets: Path) -> None:
    """Refuse a compiled file that is no longer what its source compiles to, where the source is here.

    Raises:
        UserError: It is stale. Once it is uploaded, the right bytes are refused under that version.
    """
    from stepworks.errors import NotFoundError, UserError
    from stepworks.kubeflow.compile import compile_pipeline
    from stepworks.kubeflow.pipeline import load_pipeline
    from stepworks.placement.target import Target

    try:
        pipeline = load_pipeline(file.pipeline)
    except NotFoundError:
        return
    target = targets / f"{file.target}.yaml"
    if pipeline.version != file.version or not target.is_file():
        return
    if compile_pipeline(pipeline, Target.read(target)).text.encode() != file.path.read_bytes():
        raise UserError(
            f"{file.path} is not what the source compiles to now",
            received=f"the file of {file.pipeline} {file.version} for {file.target}",
            expected="a fresh file: once it is uploaded, a version never changes",
            what_to_do="Run stepworks compile, and look at the difference.",
        )


def show_upload(server: Kubeflow, uploaded: Uploaded) -> None:
    """Print what became of an upload."""
    sys.stdout.write(f"{uploaded.pipeline} {uploaded.version.name}  {uploaded.outcome}\n")
    sys.stdout.write(f"  {server.version_url(uploaded.version)}\n")


def schedule(
    pipeline: Annotated[str, typer.Argument(metavar="PIPELINE", help="The pipeline.")],
    version: Annotated[str, typer.Option("--version", help="The version; Kubeflow would follow the newest otherwise.")],
    cron: Annotated[
        str | None, typer.Option("--cron", help="Five fields: minute, hour, day, month, weekday. '0 3 * * *'")
    ] = None,
    every: Annotated[
        int | None,
        typer.Option("--every", min=60, max=366 * 24 * 3600, help="In place of --cron: seconds between two."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="The schedule's name; the pipeline's when not given.")
    ] = None,
    parameter: ParametersOption = None,
    target: TargetOption = None,
    experiment: Annotated[str, typer.Option("--experiment", help="The experiment of its runs.")] = "schedules",
    max_concurrency: Annotated[int, typer.Option(min=1, max=10, help="Runs of it at once.")] = 1,
    service_account: Annotated[str | None, typer.Option(help="The ServiceAccount of its pods.")] = None,
    paused: Annotated[bool, typer.Option("--paused", help="Make it, and leave it paused.")] = False,
    project: ProjectOption = "stepworks",
    environment: EnvironmentOption = "manual",
    compiled: CompiledOption = Path("compiled"),
    host: HostOption = None,
    namespace: NamespaceOption = None,
    token_from: TokenOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """Run a version of a pipeline on a schedule. Running this again replaces the schedule, and never doubles it."""
    from stepworks.kubeflow.arguments import declared_in_ir, parse_arguments
    from stepworks.kubeflow.delivery.login import login_of
    from stepworks.kubeflow.delivery.replace import put_schedule
    from stepworks.kubeflow.delivery.schedule import Owner
    from stepworks.kubeflow.delivery.schedule_spec import schedule_spec
    from stepworks.kubeflow.delivery.server import connect
    from stepworks.kubeflow.delivery.upload import upload as upload_file
    from stepworks.kubeflow.delivery.version_file import find_version_file

    file = find_version_file(compiled, pipeline, version=version, target=target)
    spec = schedule_spec(
        name=name or pipeline.replace("_", "-"),
        pipeline=pipeline,
        version=version,
        cron=cron,
        interval_seconds=every,
        parameters=parse_arguments(pipeline, declared_in_ir(file.ir.inputs), parameter or []),
        max_concurrency=max_concurrency,
        experiment=experiment,
        service_account=service_account,
        enabled=not paused,
    )
    server = connect(login_of(host=host, namespace=namespace, token_from=token_from, ca_file=ca_file))
    uploaded = upload_file(server, file)
    show_upload(server, uploaded)
    owner = Owner(project, environment)
    show_put(server, owner, put_schedule(server, owner, spec, uploaded.version, tell=_tell), spec)


def _tell(text: str) -> None:
    """Say at once what is waited for."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def show_put(server: Kubeflow, owner: Owner, put: Put, spec: ScheduleSpec) -> None:
    """Print what became of a schedule, and when it runs next."""
    from datetime import UTC, datetime

    gap = f"; none was enabled for {put.gap_seconds:.1f} s" if put.gap_seconds >= 0.1 else ""
    lines = [f"{spec.name}  {put.outcome}{gap}  {put.schedule.id}"]
    cron = spec.parsed_cron()
    if cron:
        lines.append(f"  {cron}, as Kubeflow reads it: {cron.six_fields}")
    if spec.enabled:
        times = [f"{time:%a %Y-%m-%d %H:%M}" for time in spec.next_times(datetime.now(UTC))]
        lines.append(f"  next: {', '.join(times)} (UTC{'' if cron else ', counted from now'})")
    if cron and spec.enabled:
        lines.append("  Kubeflow counts in UTC, unless its owner has set CRON_SCHEDULE_TIMEZONE.")
    if put.replaced:
        lines.append("  What it replaced stays, disabled: deleting it ends its runs. Once they are over:")
        namespace = f" --namespace {server.namespace}" if server.namespace else ""
        lines.append(
            f"  stepworks schedules delete {spec.name} --replaced --project {owner.project} "
            f"--environment {owner.environment} --host {server.host}{namespace}"
        )
    sys.stdout.write("\n".join(lines) + "\n")


def deploy(
    environment: Annotated[
        str, typer.Argument(metavar="ENVIRONMENT", help="The environment: the name of its file, without .yaml.")
    ],
    check: Annotated[bool, typer.Option("--check", help="Read and check everything; ask nothing of Kubeflow.")] = False,
    environments: Annotated[Path, typer.Option(help="The folder of environment files.")] = Path("environments"),
    compiled: CompiledOption = Path("compiled"),
) -> None:
    """Bring an environment's versions and schedules into its Kubeflow. It adds and replaces, and deletes nothing."""
    from stepworks.kubeflow.delivery.environment import Environment, deliver, plan
    from stepworks.kubeflow.delivery.server import connect

    source = environments / f"{environment}.yaml"
    planned = plan(Environment.read(source), compiled, source)
    counts = f"{len(planned.files)} version(s) and {len(planned.environment.schedules)} schedule(s)"
    if check:
        sys.stdout.write(f"{environment}: {counts} are ready to deliver.\n")
        return
    server = connect(planned.environment.login)
    owner = planned.environment.owner
    deliver(
        planned,
        server,
        lambda uploaded: show_upload(server, uploaded),
        lambda put, spec: show_put(server, owner, put, spec),
        _tell,
    )
    sys.stdout.write(f"{environment}: {counts} are in place at {server.host}\n")
