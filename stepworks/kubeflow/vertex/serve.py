"""What runs in the serving image behind an endpoint of Vertex AI: `python -m stepworks.kubeflow.vertex.serve`.

Vertex tells the container where the model is (`AIP_STORAGE_URI`, a folder in Cloud Storage that holds a copy of the
package) and where to listen (`AIP_HTTP_PORT`). This fetches the package and becomes the model server.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from stepworks.errors import ConfigurationError, NotFoundError, StepworksError

MODEL_NAME = "model"
"""The name that the model answers to; a container serves one."""

DEFAULT_PORT = 8080
"""Where Vertex expects the server, unless it says otherwise."""


def main() -> NoReturn:
    """Fetch the package and become its server; exit with the code of the error, told on stderr, where that fails."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="package-"))
        fetch(model_uri(os.environ), folder)
        command = server_command(folder, os.environ)
    except StepworksError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
    os.execv(command[0], command)  # noqa: S606  # so that the server gets Vertex's SIGTERM itself


def model_uri(environment: Mapping[str, str]) -> str:
    """Where the model is.

    Raises:
        ConfigurationError: The environment is not that of a container of Vertex AI.
    """
    uri = environment.get("AIP_STORAGE_URI", "")
    if not uri.startswith("gs://"):
        raise ConfigurationError(
            "The package to serve is not named",
            received=f"AIP_STORAGE_URI={uri}" if uri else "no AIP_STORAGE_URI",
            expected="gs://bucket/folder, as Vertex AI sets it for a model that has artifacts",
            what_to_do="Elsewhere than on Vertex AI, serve a package with: stepworks serve FOLDER",
        )
    return uri


def server_command(package: Path, environment: Mapping[str, str]) -> list[str]:
    """The command of the model server, on every interface and on Vertex's port.

    Raises:
        ConfigurationError: AIP_HTTP_PORT is no port.
    """
    port = environment.get("AIP_HTTP_PORT", str(DEFAULT_PORT))
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConfigurationError("AIP_HTTP_PORT is no port", received=port, expected="a number from 1 to 65535")
    package_and_name = ["--model-directory", str(package), "--model-name", MODEL_NAME]
    address = ["--host", "0.0.0.0", "--port", port]  # noqa: S104  # Vertex asks from outside of the container
    return [sys.executable, "-m", "stepworks.serving.server", *package_and_name, *address]


def fetch(uri: str, folder: Path) -> None:
    """Copy a folder of Cloud Storage to this machine, with the credentials of the container.

    Args:
        uri: The folder, `gs://bucket/folder`.
        folder: Where its files go, in the same tree.

    Raises:
        NotFoundError: There is nothing in it.
        ConfigurationError: An object's name leads out of the folder.
    """
    from google.cloud import storage  # kfp has it installed; importing it takes a second

    bucket, _, prefix = uri.removeprefix("gs://").partition("/")
    prefix = f"{prefix.rstrip('/')}/" if prefix.strip("/") else ""
    found = False
    for blob in storage.Client().list_blobs(bucket, prefix=prefix):
        name = blob.name.removeprefix(prefix)
        if not name or name.endswith("/"):
            continue  # what stands for a folder
        path = folder / name
        if ".." in path.parts:
            raise ConfigurationError("An object's name leads out of its folder", received=blob.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        blob.download_to_filename(path)
        found = True
    if not found:
        raise NotFoundError(
            f"There is no package at {uri}",
            expected="the folder that package_model wrote, as Vertex AI copied it",
            what_to_do="Upload the model again, with the package's artifact.",
        )


if __name__ == "__main__":
    main()
