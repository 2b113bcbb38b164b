"""`stepworks cronjob`: the manifest of a CronJob that starts a pipeline's runs, or any Job."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stepworks.cli.options import CompiledOption, ParametersOption, TargetsOption
from stepworks.errors import ParameterError
from stepworks.kube.builders.cron_job import ConcurrencyPolicy

if TYPE_CHECKING:
    from stepworks.kube.builders.job import JobSpec
    from stepworks.kube.kinds.manifests import Manifest
    from stepworks.placement.target import Target

cronjob = typer.Typer(rich_markup_mode=None, no_args_is_help=True)


ScheduleOption = Annotated[
    str, typer.Option("--schedule", help="Five fields: minute, hour, day, month, weekday. '0 3 * * *'")
]
TimeZoneOption = Annotated[
    str | None, typer.Option("--time-zone", help="Of the schedule, as Europe/Zurich; the cluster's when not given.")
]
ConcurrencyOption = Annotated[
    ConcurrencyPolicy,
    typer.Option("--concurrency", help="While the last Job runs: start none, start one beside, or end the last one."),
]
StartingDeadlineOption = Annotated[
    int | None, typer.Option("--starting-deadline", min=10, metavar="SECONDS", help="How late a Job may start.")
]
KeepSucceededOption = Annotated[int, typer.Option("--keep-succeeded", min=0, help="How many completed Jobs stay.")]
KeepFailedOption = Annotated[int, typer.Option("--keep-failed", min=0, help="How many failed Jobs stay.")]
SuspendOption = Annotated[bool, typer.Option("--suspend", help="Let it start nothing until that is changed.")]
DeadlineOption = Annotated[
    int, typer.Option("--deadline", min=1, metavar="SECONDS", help="After how long a Job is ended.")
]
RoleOption = Annotated[str, typer.Option("--role", help="What its pods need, as the target names it.")]
TargetOption = Annotated[str, typer.Option("--target", "-t", help="The target: its images, placements and claims.")]
AccountOption = Annotated[str | None, typer.Option("--service-account", help="The ServiceAccount of its pods.")]
NamespaceOption = Annotated[str | None, typer.Option("--namespace", "-n", help="The namespace of the CronJob.")]
OutputOption = Annotated[
    Path | None,
    typer.Option("--output", "-o", dir_okay=False, help="The file to write; the terminal when not given."),
]
NameOption = Annotated[str | None, typer.Option("--name", help="The CronJob's name; the pipeline's when not given.")]
PodHostOption = Annotated[str, typer.Option("--host", help="The address of Kubeflow Pipelines, as a pod finds it.")]
PodTokenOption = Annotated[
    str | None, typer.Option("--token-from", metavar="in-cluster", help="Where Kubeflow has several users: log in.")
]
_DAY = 86_400


@cronjob.callback()
def _cronjob() -> None:
    """Write the manifest of a CronJob, to be reviewed and applied with kubectl."""


@cronjob.command()
def pipeline(
    pipeline: Annotated[str, typer.Argument(metavar="PIPELINE", help="The pipeline.")],
    version: Annotated[str, typer.Option("--version", help="Its version.")],
    target: TargetOption,
    schedule: ScheduleOption,
    name: NameOption = None,
    parameter: ParametersOption = None,
    host: PodHostOption = "http://ml-pipeline.kubeflow.svc.cluster.local:8888",
    token_from: PodTokenOption = None,
    experiment: Annotated[str, typer.Option("--experiment", help="The experiment of its runs.")] = "schedules",
    role: RoleOption = "small",
    time_zone: TimeZoneOption = None,
    concurrency: ConcurrencyOption = "Forbid",
    starting_deadline: StartingDeadlineOption = None,
    keep_succeeded: KeepSucceededOption = 3,
    keep_failed: KeepFailedOption = 3,
    suspend: SuspendOption = False,
    deadline: DeadlineOption = _DAY,
    service_account: AccountOption = None,
    namespace: NamespaceOption = None,
    output: OutputOption = None,
    compiled: CompiledOption = Path("compiled"),
    targets: TargetsOption = Path("targets"),
) -> None:
    """A CronJob whose Jobs start a run of a compiled pipeline, follow it, and fail when it fails."""
    from stepworks.cli.deliver import refuse_stale
    from stepworks.kube.kinds.names import check_name
    from stepworks.kubeflow.delivery.login import login_of
    from stepworks.kubeflow.delivery.pipeline_job import compiled_config_map, pipeline_job
    from stepworks.kubeflow.delivery.version_file import find_version_file
    from stepworks.placement.target import read_targets

    file = find_version_file(compiled, pipeline, version=version, target=target)
    refuse_stale(file, targets)
    cron_job = check_name("CronJob", name or pipeline.replace("_", "-"))
    config_map = f"{cron_job}-compiled"
    job = pipeline_job(
        file,
        read_targets(targets, [target])[target],
        login_of(host=host, namespace=namespace, token_from=token_from),
        parameter or [],
        config_map=config_map,
        role=role,
        experiment=experiment,
        active_deadline_seconds=deadline,
    )
    manifest = _build(
        _with_account(job, service_account),
        namespace,
        name=cron_job,
        schedule=schedule,
        time_zone=time_zone,
        concurrency_policy=concurrency,
        starting_deadline_seconds=starting_deadline,
        successful_jobs_history_limit=keep_succeeded,
        failed_jobs_history_limit=keep_failed,
        suspend=suspend,
    )
    _write([compiled_config_map(file, config_map, namespace=namespace), manifest], output)


@cronjob.command()
def job(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The CronJob's name.")],
    image: Annotated[
        str, typer.Option("--image", help="The image's reference, or its name below images: of the target.")
    ],
    target: TargetOption,
    schedule: ScheduleOption,
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="[COMMAND]...", help="After --: what runs in place of the image's entry point."),
    ] = None,
    role: RoleOption = "small",
    environment: Annotated[
        list[str] | None, typer.Option("--env", "-e", metavar="NAME=VALUE", help="An environment variable.")
    ] = None,
    mount: Annotated[
        list[str] | None, typer.Option("--mount", "-m", help="A claim that it mounts, as the target names it.")
    ] = None,
    time_zone: TimeZoneOption = None,
    concurrency: ConcurrencyOption = "Forbid",
    starting_deadline: StartingDeadlineOption = None,
    keep_succeeded: KeepSucceededOption = 3,
    keep_failed: KeepFailedOption = 3,
    suspend: SuspendOption = False,
    deadline: DeadlineOption = _DAY,
    service_account: AccountOption = None,
    namespace: NamespaceOption = None,
    output: OutputOption = None,
    targets: TargetsOption = Path("targets"),
) -> None:
    """A CronJob whose Jobs run a command in any image, on the nodes that the target has for a role."""
    from stepworks.kube.builders.job import job_spec
    from stepworks.kubeflow.placement_of import pod_placement
    from stepworks.placement.target import read_targets

    described: Target = read_targets(targets, [target])[target]
    placed = pod_placement(described, role, mount or [])
    made = job_spec(
        image=_image(described, image),
        command=command or [],
        environment=_variables(environment or []),
        placement=placed.placement,
        mounts=placed.mounts,
        active_deadline_seconds=deadline,
    )
    manifest = _build(
        _with_account(made, service_account),
        namespace,
        name=name,
        schedule=schedule,
        time_zone=time_zone,
        concurrency_policy=concurrency,
        starting_deadline_seconds=starting_deadline,
        successful_jobs_history_limit=keep_succeeded,
        failed_jobs_history_limit=keep_failed,
        suspend=suspend,
    )
    _write([manifest], output)


def _build(made: JobSpec, namespace: str | None, **settings: Any) -> Manifest:
    from stepworks.kube.builders.cron_job import build_cron_job, cron_job_spec

    return build_cron_job(cron_job_spec(job=made, **settings), namespace=namespace)


def _with_account(made: JobSpec, service_account: str | None) -> JobSpec:
    if service_account is None:
        return made
    from stepworks.kube.kinds.names import check_name

    account = check_name("ServiceAccount", service_account)
    return made.model_copy(update={"placement": made.placement.model_copy(update={"service_account": account})})


def _image(target: Target, given: str) -> str:
    """The reference that an option means.

    Raises:
        ParameterError: It is none of the target's names, and nobody could say which version it would pull.
    """
    reference = target.images.get(given, given)
    if reference == given and not {":", "/", "@"} & set(given):
        raise ParameterError(
            f"The target {target.name} has no image {given}",
            received=f"--image {given}",
            expected=f"one of {', '.join(target.images)}, or a reference with its tag, such as {given}:1.0",
            what_to_do=f"Correct it, or add it below images: in the file of the target {target.name}.",
        )
    return reference


def _variables(assignments: list[str]) -> dict[str, str]:
    for each in assignments:
        if not each.partition("=")[1]:
            raise ParameterError(
                "An environment variable has no value", received=f"--env {each}", expected="--env NAME=VALUE"
            )
    return {name: value for name, _, value in (each.partition("=") for each in assignments)}


def _write(manifests: list[Manifest], output: Path | None) -> None:
    from stepworks.files import write_atomically
    from stepworks.kubeflow.ir_yaml import to_yaml

    text = to_yaml(manifests)
    if output is None:
        sys.stdout.write(text)
        return
    write_atomically(output, text.encode())
    sys.stdout.write(f"{output}  written: kubectl apply --server-side -f {output}\n")
