"""The `stepworks` command. Each command calls one library function, and imports it only when it is called."""

from __future__ import annotations

import gc
import logging
import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from stepworks.cli.cronjob import cronjob
from stepworks.cli.deliver import deploy, schedule, upload
from stepworks.cli.diff import diff
from stepworks.cli.garbage import collect_garbage_again
from stepworks.cli.lint import lint
from stepworks.cli.options import (
    CaFileOption,
    ClusterOption,
    CompiledOption,
    ExperimentOption,
    KeepServingOption,
    RehearseOption,
    RunHostOption,
    RunNamespaceOption,
    RunParametersOption,
    RunTargetOption,
    RunVersionOption,
    ServiceAccountOption,
    TargetsOption,
    TokenOption,
)
from stepworks.cli.preflight import preflight
from stepworks.cli.release import release
from stepworks.cli.schedules import schedules
from stepworks.errors import ParameterError, StepworksError

app = typer.Typer(
    name="stepworks",
    help="Kubeflow Pipelines steps and pipelines: run them here, compile them for a cluster.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: importing what draws the boxes takes longer than the help itself
)


def _show_version(asked: bool) -> None:  # as typer calls it
    if asked:
        from importlib.metadata import version

        sys.stdout.write(f"stepworks {version('stepworks')}\n")
        raise typer.Exit


@app.callback()
def stepworks(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version of Stepworks.")
    ] = False,
) -> None:
    """Kubeflow Pipelines steps and pipelines: run them here, compile them for a cluster."""


HomeOption = Annotated[Path, typer.Option("--home", help="The folder of runs, claims and the local registry.")]


class CompileFormat(StrEnum):
    """What compiling writes."""

    IR = "ir"
    KUBERNETES = "kubernetes"


@app.command()
def pipelines(
    name: Annotated[str | None, typer.Argument(metavar="PIPELINE", help="Show this pipeline's parameters.")] = None,
) -> None:
    """List the pipelines, or the parameters of one."""
    from stepworks.cli.pipelines import show_pipeline, show_pipelines

    if name:
        show_pipeline(name)
    else:
        show_pipelines()


@app.command(short_help="Run a pipeline here, as pods with --cluster, or in Kubeflow with --host.")
def run(
    context: typer.Context,
    pipeline: Annotated[
        str, typer.Argument(metavar="PIPELINE", help="A pipeline's name, or the path of the .py file that holds it.")
    ],
    parameter: RunParametersOption = None,
    home: HomeOption = Path(".stepworks"),
    keep_serving: KeepServingOption = False,
    rehearse_roll_back: RehearseOption = False,
    cluster: ClusterOption = False,
    host: RunHostOption = None,
    version: RunVersionOption = None,
    target: RunTargetOption = None,
    experiment: ExperimentOption = "stepworks",
    service_account: ServiceAccountOption = None,
    compiled: CompiledOption = Path("compiled"),
    targets: TargetsOption = Path("targets"),
    namespace: RunNamespaceOption = None,
    token_from: TokenOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """Run a pipeline on this machine; with --cluster, as pods; with --host, in Kubeflow, followed to its end."""
    collect_garbage_again()
    in_kubeflow = host is not None or token_from is not None
    _refuse_options_of_another_way(context, "host" if in_kubeflow else "cluster" if cluster else "")
    if in_kubeflow:
        from stepworks.cli.submit import run_in_kubeflow
        from stepworks.kubeflow.delivery.login import login_of

        run_in_kubeflow(
            login_of(host=host, namespace=namespace, token_from=token_from, ca_file=ca_file),
            pipeline,
            parameter or [],
            version=version,
            target=target,
            experiment=experiment,
            service_account=service_account,
            compiled=compiled,
            targets=targets,
        )
        return
    try:
        if cluster:
            from stepworks.cli.cluster import Place, run_on_cluster

            place = Place(target, targets, namespace, service_account or "pipeline-runner")
            run_on_cluster(pipeline, parameter or [], home, place)
        else:
            from stepworks.cli.run import run_locally

            run_locally(
                pipeline, parameter or [], home, keep_serving=keep_serving, rehearse_roll_back=rehearse_roll_back
            )
    except (KeyboardInterrupt, SystemExit) as error:
        ended = "the pods of the run were deleted" if cluster else "the processes of the run were ended"
        told = "\n".join([f"Interrupted: {ended}.", *_notes_of(error)])
        sys.stderr.write(f"\n{told}\n")
        code = error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 130
        raise typer.Exit(code) from error


@app.command("compile", short_help="Compile pipelines to IR YAML.")
def compile_(
    pipeline: Annotated[
        list[str] | None, typer.Argument(metavar="PIPELINE", help="Pipelines to compile; all when none is named.")
    ] = None,
    target: Annotated[list[str] | None, typer.Option("--target", "-t", help="Compile for this target only.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail when a compiled file is stale.")] = False,
    format_: Annotated[
        CompileFormat,
        typer.Option("--format", help="kubernetes: also write a Pipeline and PipelineVersion to apply."),
    ] = CompileFormat.IR,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder of compiled files.")] = Path("compiled"),
    targets: TargetsOption = Path("targets"),
) -> None:
    """Compile pipelines to IR YAML: <output>/<pipeline>/<version>/<target>.yaml."""
    from stepworks.cli.compile import compile_pipelines

    compile_pipelines(
        pipeline or [],
        target or [],
        targets,
        output,
        check=check,
        kubernetes=format_ is CompileFormat.KUBERNETES,
    )


@app.command(short_help="Serve a packaged model until Ctrl-C.")
def serve(
    model_directory: Annotated[
        Path, typer.Argument(metavar="MODEL_DIR", help="A packaged model: the output of package_model.")
    ],
    name: Annotated[str, typer.Option(help="The name that the model answers to.")] = "model",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port, on this machine only; 0: a free one.")] = 8080,
) -> None:
    """Serve a packaged model by the Open Inference Protocol (V2, REST), until Ctrl-C."""
    from stepworks.serving.server import serve as serve_model

    collect_garbage_again()
    serve_model(model_directory, name, "127.0.0.1", port)


@app.command(short_help="Ask a served model for recorded rows.")
def ask(
    url: Annotated[
        str, typer.Argument(metavar="URL", help="Where the model is served, for example http://127.0.0.1:8080.")
    ],
    model_directory: Annotated[
        Path, typer.Argument(metavar="MODEL_DIR", help="The packaged model; its recorded rows are sent.")
    ],
    name: Annotated[str | None, typer.Option(help="The model's name, where the server has several.")] = None,
    rows: Annotated[int, typer.Option(min=1, help="How many recorded rows to send.")] = 3,
) -> None:
    """Send recorded rows of a packaged model to a server, and show the answers beside the expected ones."""
    from stepworks.cli.ask import ask_and_show

    ask_and_show(url, model_directory, name=name, rows=rows)


app.command(short_help="Find what would fail or waste GPUs.")(lint)
app.command(short_help="See whether a cluster can run a compiled pipeline.")(preflight)
app.command(short_help="Say what changed between compiled pipelines.")(diff)
app.command(short_help="Record compiled versions as released.")(release)
app.command(short_help="Upload compiled pipelines to Kubeflow.")(upload)
app.command(short_help="Run a version on a schedule in Kubeflow.")(schedule)
app.add_typer(schedules, name="schedules", short_help="List, pause, resume or delete schedules.")
app.add_typer(cronjob, name="cronjob", short_help="Write the manifest of a CronJob for a pipeline or a Job.")
app.command(short_help="Bring an environment into its Kubeflow.")(deploy)


def main() -> NoReturn:
    """Run the command; exit with 0, 1 for a failed run, 2 for a mistake of the caller, 130 for Ctrl-C."""
    # Importing kfp makes half a million objects that stay; looking for garbage among them is a sixth of its time.
    gc.disable()
    logging.raiseExceptions = False  # on a full disk, its tracebacks would bury the message that says so
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    try:
        app(standalone_mode=True)
    except StepworksError as error:
        _show_error(error)
        sys.exit(error.exit_code)
    sys.exit(0)


_WAYS = {"": "on this machine", "host": "in Kubeflow", "cluster": "on a test bed"}
"""Where a run is, by the option that says so."""
_OF_KUBEFLOW = ("version", "target", "experiment", "service_account", "compiled", "targets", "namespace", "ca_file")
_OPTIONS = {
    "": ("home", "keep_serving", "rehearse_roll_back"),
    "host": ("host", "token_from", *_OF_KUBEFLOW),
    "cluster": ("cluster", "home", "target", "targets", "namespace", "service_account"),
}
"""The options of each way, beside the parameters."""


def _refuse_options_of_another_way(context: typer.Context, way: str) -> None:
    """Options that would be ignored say that the run would be another than the one that was meant."""
    unused = [name for names in _OPTIONS.values() for name in names if name not in _OPTIONS[way]]
    sources = {name: context.get_parameter_source(name) for name in unused}
    named = [name for name, source in sources.items() if source and source.name == "COMMANDLINE"]
    given = [f"--{name.replace('_', '-')}" for name in named]
    if given:
        meant = [other for other, names in _OPTIONS.items() if {*named} <= {*names}]
        change = [f"leave out --{way}" if not other else f"add --{other}" for other in meant if not (other and way)]
        raise ParameterError(
            f"{' and '.join(given)} is for a run {' or '.join(_WAYS[other] for other in meant) or 'of another kind'}",
            received=f"{' and '.join(given)}, for a run {_WAYS[way]}",
            expected="options of one way: here, as pods with --cluster, or in Kubeflow with --host",
            what_to_do=", or ".join([f"Leave out {given[0]}", *change]) + ".",
        )


def _end(number: int, _frame: object) -> None:
    """Leave through the `finally` blocks, which end what was started."""
    sys.exit(128 + number)


def _notes_of(error: BaseException) -> list[str]:
    """What was added to an error on its way, such as where the report of the run is."""
    return getattr(error, "__notes__", [])


def _show_error(error: StepworksError) -> None:
    from rich.console import Console
    from rich.text import Text

    first, _, rest = str(error).partition("\n")
    notes = "".join(f"\n\n{note}" for note in _notes_of(error))
    Console(stderr=True).print(
        Text.assemble(("Error: ", "bold red"), (first, "bold"), "\n" if rest else "", rest, notes), soft_wrap=True
    )
