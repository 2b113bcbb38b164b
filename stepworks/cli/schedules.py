"""`stepworks schedules`: what runs when, and to pause, resume and delete it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from stepworks.cli.login import CaFileOption, HostOption, NamespaceOption, TokenOption

if TYPE_CHECKING:
    from stepworks.kubeflow.delivery.login import Login
    from stepworks.kubeflow.delivery.schedule import Owner
    from stepworks.kubeflow.delivery.server import Kubeflow

schedules = typer.Typer(rich_markup_mode=None)
NameArgument = Annotated[str, typer.Argument(help="The schedule's name.")]


@dataclass(frozen=True)
class _Options:
    """What was given before the sub-command."""

    login: Login
    owner: Owner

    def connect(self) -> Kubeflow:
        from stepworks.kubeflow.delivery.server import connect

        return connect(self.login)


@schedules.callback(invoke_without_command=True)
def list_schedules(
    context: typer.Context,
    project: Annotated[str, typer.Option(help="Whose schedules: a repository or a team.")] = "stepworks",
    environment: Annotated[str, typer.Option(help="Whose schedules: an environment of the project.")] = "manual",
    all_: Annotated[bool, typer.Option("--all", help="List also what was replaced, and what others made.")] = False,
    host: HostOption = None,
    namespace: NamespaceOption = None,
    token_from: TokenOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """List the schedules of an environment; pause, resume or delete one: `stepworks schedules pause NAME`.

    Options come before the sub-command.
    """
    from stepworks.kubeflow.delivery.login import login_of
    from stepworks.kubeflow.delivery.schedule import Owner

    options = _Options(
        login_of(host=host, namespace=namespace, token_from=token_from, ca_file=ca_file), Owner(project, environment)
    )
    context.obj = options
    if context.invoked_subcommand is None:
        _show(options, everything=all_)


def _show(options: _Options, *, everything: bool) -> None:
    from datetime import UTC, datetime

    from stepworks.kubeflow.delivery.schedule import listed

    rows = listed(options.connect(), options.owner, everything=everything)
    if not rows:
        sys.stdout.write(f"{options.owner.project}/{options.owner.environment} has no schedules here.\n")
        return
    now = datetime.now(UTC)
    for row in rows:
        times = row.schedule.next_times(now, 1) if row.schedule.enabled else []
        following = "".join(f", next {time:%a %Y-%m-%d %H:%M} UTC" for time in times)
        sys.stdout.write(f"{row.name}  {row.state}  {row.schedule.when}{following}\n  {row.schedule.id}  {row.runs}\n")


@schedules.command()
def pause(context: typer.Context, name: NameArgument) -> None:
    """Pause a schedule. What it has started goes on."""
    _set_enabled(context.obj, name, enabled=False)


@schedules.command()
def resume(context: typer.Context, name: NameArgument) -> None:
    """Resume a paused schedule. What it missed meanwhile is not started."""
    _set_enabled(context.obj, name, enabled=True)


def _set_enabled(options: _Options, name: str, *, enabled: bool) -> None:
    from stepworks.kubeflow.delivery.schedule import find_schedule

    server = options.connect()
    found = find_schedule(server, options.owner, name)
    server.set_enabled(found.id, enabled=enabled)
    sys.stdout.write(f"{name}  {'resumed' if enabled else 'paused'}  {found.id}\n")


@schedules.command()
def delete(
    context: typer.Context,
    name: NameArgument,
    replaced: Annotated[bool, typer.Option("--replaced", help="Delete only what the schedule has replaced.")] = False,
    end_runs: Annotated[bool, typer.Option("--end-runs", help="End the runs that it has started, too.")] = False,
) -> None:
    """Delete a schedule, and what it replaced. It refuses while runs that it has started go on: they would be ended."""
    from stepworks.kubeflow.delivery.schedule import delete_schedules

    options: _Options = context.obj
    deleted = delete_schedules(options.connect(), options.owner, name, replaced_only=replaced, end_runs=end_runs)
    sys.stdout.write("".join(f"{name}  deleted  {each.id}\n" for each in deleted) or f"{name} has replaced nothing.\n")
