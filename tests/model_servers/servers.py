"""Starting a server of `.model-servers`, and asking it by the Open Inference Protocol."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from stepworks.serving.check import require_recorded_answers
from stepworks.serving.formats.kserve import served
from stepworks.serving.manifest import Samples, read_package
from stepworks.serving.package_client import PackageClient

ENVIRONMENT = Path(__file__).parents[2] / ".model-servers"
PYTHON = ENVIRONMENT / "bin" / "python"
START_SECONDS = 240


def site_packages() -> Path:
    return next(ENVIRONMENT.glob("lib/python*/site-packages"))


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def running(
    command: Sequence[str | Path], ready: str, folder: Path, environment: Mapping[str, str], wanted: str = ""
) -> Iterator[None]:
    """A server, from when it is ready until it and all that it started have ended.

    Args:
        command: What starts it; it stays in the foreground.
        ready: A URL that answers 200 when it is ready.
        folder: Its working folder, and that of its log.
        environment: Variables beside those of this process.
        wanted: What that answer has to hold.
    """
    log = folder / "server.log"
    path = f"{ENVIRONMENT / 'bin'}{os.pathsep}{os.environ['PATH']}"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(each) for each in command],
            cwd=folder,
            env={**os.environ, "PATH": path, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        until = time.monotonic() + START_SECONDS
        while not _is_ready(ready, wanted):
            assert process.poll() is None, f"it ended with {process.returncode}:\n{log.read_text()[-3000:]}"
            assert time.monotonic() < until, f"it is not ready:\n{log.read_text()[-3000:]}"
            time.sleep(0.5)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _is_ready(url: str, wanted: str) -> bool:
    try:
        answer = httpx.get(url, timeout=5, trust_env=False)
    except httpx.HTTPError:
        return False
    return answer.status_code == 200 and wanted in answer.text


def infer(url: str, inputs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The one output that a V2 server gives."""
    # httpx writes no NaN; Triton reads it, and so does Python.
    answer = httpx.post(url, json={"inputs": list(inputs)}, timeout=60, trust_env=False)
    assert answer.status_code == 200, answer.text
    (output,) = answer.json()["outputs"]
    return dict(output)


def require_recorded(address: str, package: Path, runtime: str = "") -> None:
    """Ask a server as the steps do: by the format of the package, all rows in one request and each alone.

    Args:
        address: The server's address; it knows the model as `mine`, where it does not take the name from the package.
        package: The package's folder.
        runtime: KServe's runtime with this server, for the first of the format's.
    """
    manifest, samples = read_package(package), Samples.read(package)
    way = served(manifest.format, runtime)
    with PackageClient(address, "mine", "mine", way, manifest, samples) as client:
        require_recorded_answers(client, samples, way.tolerance, way.excused)


def columns(
    rows: Sequence[Mapping[str, Any]], datatypes: Mapping[str, str], missing: Any = None
) -> list[dict[str, Any]]:
    """Raw rows as V2 inputs of shape [rows, 1]."""
    return [
        {
            "name": name,
            "datatype": datatype,
            "shape": [len(rows), 1],
            "data": [("" if datatype == "BYTES" else missing) if row[name] is None else row[name] for row in rows],
        }
        for name, datatype in datatypes.items()
    ]
