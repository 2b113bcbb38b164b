"""`stepworks schedules`: what runs when, and to pause, resume and delete it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stepworks.cli.options import (
    CaFileOption,
    EnvironmentOption,
    HostOption,
    NamespaceOption,
    ProjectOption,
    TokenOption,
)

if TYPE_CHECKING:
    from stepworks.kubeflow.delivery.schedule import Owner
    from stepworks.kubeflow.delivery.server import Kubeflow

schedules = typer.Typer(rich_markup_mode=None)
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The schedule's name.")]


def _connect(host: str | None, namespace: str | None, token_from: str | None, ca_file: Path | None) -> Kubeflow:
    from stepworks.kubeflow.delivery.login import login_of
    from stepworks.kubeflow.delivery.server import connect

    return connect(login_of(host=host, namespace=namespace, token_from=token_from, ca_file=ca_file))


def _owner(project: str, environment: str) -> Owner:
    from stepworks.kubeflow.delivery.schedule import Owner

    return Owner(project, environment)


@schedules.callback(invoke_without_command=True)
def list_schedules(
    context: typer.Context,
    all_: Annotated[bool, typer.Option("--all", help="List also what was replaced, and what others made.")] = False,
    project: ProjectOption = "stepworks",
    environment: EnvironmentOption = "manual",
    host: HostOption = None,
    namespace: NamespaceOption = None,
    token_from: TokenOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """List the schedules of an environment; pause, resume or delete one: `stepworks schedules pause NAME`."""
    from datetime import UTC, datetime

    from stepworks.kubeflow.delivery.schedule import listed

    if context.invoked_subcommand is not None:
        return
    rows = listed(_connect(host, namespace, token_from, ca_file), _owner(project, environment), everything=all_)
    if not rows:
        sys.stdout.write(f"{project}/{environment} has no schedules here. --all lists what others have.\n")
        return
    now = datetime.now(UTC)
    for row in rows:
        times = row.schedule.next_times(now, 1) if row.schedule.enabled else []
        following = "".join(f", next {time:%a %Y-%m-%d %H:%M} UTC" for time in times)
        sys.stdout.write(f"{row.name}  {row.state}  {row.schedule.when}{following}\n  {row.schedule.id}  {row.runs}\n")


@schedules.command()
def pause(
    name: NameArgument,
    project: ProjectOption = "stepworks",
    environment: EnvironmentOption = "manual",
    host: HostOption = None,
    namespace: NamespaceOption = None,
    token_from: TokenOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """Pause a schedule. What it has started goes on."""
    server = _connect(host, namespace, token_from, ca_file)
    _set_enabled(server, _owner(project, environment), name, enabled=False)


@schedules.command()
def resume(
    name: NameArgument,
    project: ProjectOption = "stepworks",
    environment: EnvironmentOption = "manual",
    host: HostOption = None,
    namespace: NamespaceOption = None,
    token_from: TokenOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """Resume a paused schedule. What it missed meanwhile is not started."""
    server = _connect(host, namespace, token_from, ca_file)
    _set_enabled(server, _owner(project, environment), name, enabled=True)


def _set_enabled(server: Kubeflow, owner: Owner, name: str, *, enabled: bool) -> None:
    from stepworks.kubeflow.delivery.schedule import find_schedule

    found = find_schedule(server, owner, name)
    server.set_enabled(found.id, enabled=enabled)
    sys.stdout.write(f"{name}  {'resumed' if enabled else 'paused'}  {found.id}\n")


@schedules.command()
def delete(
    name: NameArgument,
    replaced: Annotated[bool, typer.Option("--replaced", help="Delete only what the schedule has replaced.")] = False,
    end_runs: Annotated[bool, typer.Option("--end-runs", help="End the runs that it has started, too.")] = False,
    project: ProjectOption = "stepworks",
    environment: EnvironmentOption = "manual",
    host: HostOption = None,
    namespace: NamespaceOption = None,
    token_from: TokenOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """Delete a schedule, and what it replaced. It refuses while runs that it has started go on: they would be ended."""
    from stepworks.kubeflow.delivery.schedule import delete_schedules

    server, owner = _connect(host, namespace, token_from, ca_file), _owner(project, environment)
    deleted = delete_schedules(server, owner, name, replaced_only=replaced, end_runs=end_runs)
    sys.stdout.write("".join(f"{name}  deleted  {each.id}\n" for each in deleted) or f"{name} has replaced nothing.\n")
