"""The options by which commands say where Kubeflow is and as whom to speak to it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

HostOption = Annotated[
    str | None,
    typer.Option(envvar="KF_PIPELINES_ENDPOINT", help="The address of Kubeflow Pipelines.", show_default=False),
]
RunHostOption = Annotated[str | None, typer.Option("--host", help="Run in Kubeflow, at this address, and not here.")]
"""Without the environment variable: a run is here unless the command itself says otherwise."""

NamespaceOption = Annotated[
    str | None, typer.Option("--namespace", "-n", help="Your profile's namespace, where Kubeflow has several users.")
]
TokenOption = Annotated[
    str | None,
    typer.Option(metavar="WHERE", help="Where a bearer token is: env:NAME, file:PATH, or in-cluster for this pod's."),
]
CaFileOption = Annotated[Path | None, typer.Option(help="The server's certificate authority, PEM.")]
