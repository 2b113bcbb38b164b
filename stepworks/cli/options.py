"""The options that several commands have, said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ParametersOption = Annotated[
    list[str] | None, typer.Option("--parameter", "-p", metavar="NAME=VALUE", help="A parameter of the pipeline.")
]
RunParametersOption = Annotated[
    list[str] | None,
    typer.Option(
        "--parameter",
        "-p",
        metavar="NAME=VALUE",
        help="A parameter of the pipeline; without --host also STEP.INPUT=VALUE, an input of one step.",
    ),
]
TargetsOption = Annotated[Path, typer.Option("--targets", help="The folder of target files.")]
CompiledOption = Annotated[Path, typer.Option("--compiled", help="The folder of compiled files.")]
TargetOption = Annotated[str | None, typer.Option("--target", "-t", help="The target that this Kubeflow is.")]

ClusterOption = Annotated[
    bool, typer.Option("--cluster", help="Run the steps as pods of the test bed that KUBECONFIG names, and not here.")
]
RunTargetOption = Annotated[
    str | None, typer.Option("--target", "-t", help="With --cluster or --host: what that cluster is.")
]
RunVersionOption = Annotated[str | None, typer.Option(help="With --host: the version; the newest when not given.")]
ExperimentOption = Annotated[str, typer.Option(help="With --host: the experiment of the run.")]
ServiceAccountOption = Annotated[
    str | None, typer.Option(help="With --cluster (by default pipeline-runner) or --host: the pods' ServiceAccount.")
]
KeepServingOption = Annotated[
    bool, typer.Option("--keep-serving", help="Leave the model server up when the run has ended.")
]
RehearseOption = Annotated[
    bool,
    typer.Option("--rehearse-roll-back", help="After the run, roll out a broken model and see that it is rolled back."),
]

HostOption = Annotated[
    str | None,
    typer.Option(envvar="KF_PIPELINES_ENDPOINT", help="The address of Kubeflow Pipelines.", show_default=False),
]
RunHostOption = Annotated[str | None, typer.Option("--host", help="Run in Kubeflow, at this address, and not here.")]
"""Without the environment variable: a run is here unless the command itself says otherwise."""

NamespaceOption = Annotated[
    str | None, typer.Option("--namespace", "-n", help="Your profile's namespace, where Kubeflow has several users.")
]
RunNamespaceOption = Annotated[
    str | None,
    typer.Option(
        "--namespace", "-n", help="With --cluster: that of the pods. With --host: your profile's, where it has users."
    ),
]
TokenOption = Annotated[
    str | None,
    typer.Option(metavar="WHERE", help="Where a bearer token is: env:NAME, file:PATH, or in-cluster for this pod's."),
]
CaFileOption = Annotated[Path | None, typer.Option(help="The server's certificate authority, PEM.")]

ProjectOption = Annotated[str, typer.Option("--project", help="Whose schedules: a repository or a team.")]
EnvironmentOption = Annotated[str, typer.Option("--environment", help="Whose schedules: an environment of it.")]
