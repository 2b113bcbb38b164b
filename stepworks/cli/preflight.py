"""`stepworks preflight`: whether a cluster can run a compiled pipeline, before it is uploaded."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from stepworks.cli.garbage import collect_garbage_again

if TYPE_CHECKING:
    from stepworks.kube.preflight.report import Preflight

_PATIENCE_SECONDS = 10.0
"""For how long a request that fails is tried again."""


def preflight(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A compiled pipeline (IR YAML).", show_default=False)],
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", help="Where it is to run; that of the context when not given.")
    ] = None,
    service_account: Annotated[
        str, typer.Option(help="The ServiceAccount of the run, whose permissions are checked.")
    ] = "pipeline-runner",
    context: Annotated[str | None, typer.Option(help="The context of the kubeconfig.")] = None,
    more_nodes_may_come: Annotated[
        bool, typer.Option("--more-nodes-may-come", help="An autoscaler adds nodes: one that is missing is no fault.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 also for what waits or could not be checked.")
    ] = False,
    format_: Annotated[Literal["text", "json"], typer.Option("--format", help="What to write.")] = "text",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file.")] = None,
) -> None:
    """See whether the cluster that the kubeconfig names can run a compiled pipeline. Nothing is changed there.

    Exits with 0, with 1 when something is missing, with 2 when the file is no compiled pipeline for a cluster, or the
    cluster or the namespace cannot be looked at.
    """
    found = _look(path, namespace, context, service_account, more_nodes_may_come=more_nodes_may_come)
    _show(found, format_, output)
    if not found.can_run or (strict and not found.is_fine):
        raise typer.Exit(1)


def _look(
    path: Path, namespace: str | None, context: str | None, service_account: str, *, more_nodes_may_come: bool
) -> Preflight:
    from stepworks.errors import ClusterError, UserError
    from stepworks.kube.api.cluster import connect
    from stepworks.kubeflow.ir.read import read_ir
    from stepworks.kubeflow.needs import needs_of
    from stepworks.preflight.step import check

    collect_garbage_again()  # of thousands of pods, those are let go that were looked at
    needs = needs_of(read_ir(path))
    connected = connect(context=context, namespace=namespace)
    # Somebody waits for the answer: what does not answer soon is told.
    cluster = replace(connected, give_up_at=connected.clock.now() + _PATIENCE_SECONDS)
    try:
        found = check(cluster, needs, service_account=service_account, more_nodes_may_come=more_nodes_may_come)
    except ClusterError as error:
        raise UserError(
            error.problem, received=error.received, expected=error.expected, what_to_do=error.what_to_do
        ) from error
    if found.is_blind:
        raise UserError(
            f"Nothing in the namespace {found.namespace} may be looked at",
            received=found.checks[0].told,
            expected="a user who may at least view the namespace",
            what_to_do="Let somebody who owns the namespace bind the ClusterRole view to you in it; docs/cluster.md "
            "has what pre-flight looks at.",
        )
    return found


def _show(found: Preflight, format_: str, output: Path | None) -> None:
    import json

    from stepworks.files import write_atomically
    from stepworks.kube.preflight.text import text_of

    text = json.dumps(found.to_json(), indent=2) if format_ == "json" else text_of(found)
    if output is not None:
        write_atomically(output, f"{text}\n".encode())
        sys.stdout.write(f"{output} written. {found.summary}\n")
    elif format_ == "text" and sys.stdout.isatty():
        _show_in_colours(found)
    else:
        sys.stdout.write(f"{text.lstrip()}\n")


def _show_in_colours(found: Preflight) -> None:
    from rich.console import Console
    from rich.text import Text

    from stepworks.kube.preflight.report import State
    from stepworks.kube.preflight.text import text_of

    styles = {State.MISSING: "bold red", State.WAITS: "yellow", State.UNKNOWN: "yellow", State.FINE: "green"}
    headings = {state.value.upper(): style for state, style in styles.items()}
    console = Console(highlight=False)
    for line in text_of(found, width=max(60, min(console.width, 140))).lstrip().splitlines():
        console.print(Text(line, style=headings.get(line, "")), soft_wrap=True)
