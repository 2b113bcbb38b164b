"""The model server: KServe's own, over a package, as a process.

`python -m stepworks.serving.server --model-directory D --model-name N --port P [--host 127.0.0.1] [--alias A]
[--check-answers]`

It speaks the Open Inference Protocol V2 by REST. A missing number is `null` in the request's JSON, a missing
text the empty string. `GET /metrics` tells Prometheus of its requests. It ends with SIGTERM or SIGINT.

With `--alias` it answers by a second name, too: behind one address every version of a model is asked by the model's own
name. Its answers and its metrics have the first name all the same, by which the versions are told apart.

With `--check-answers` it answers the package's recorded rows before anybody else: where it would answer otherwise than
the trained model did, it ends and is never ready.
"""

from __future__ import annotations

import argparse
import logging
import os
import socket
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stepworks.errors import ResourceError, StepworksError
from stepworks.serving.manifest import ONNXRUNTIME, Manifest, Samples, read_package, require_format
from stepworks.serving.session import load_session

GRACE_SECONDS = 3
"""How long requests under way may take when the server is asked to end."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal ends the process.

    Args:
        arguments: The command line; that of this process by default.

    Returns:
        The exit code: 2 if the package is not there, 1 if it was changed or the port is in use.
    """
    parser = argparse.ArgumentParser(prog="python -m stepworks.serving.server", description="Serve a model package.")
    parser.add_argument("--model-directory", type=Path, required=True, help="the package's folder")
    parser.add_argument("--model-name", required=True, help="the model's name in the protocol's paths")
    parser.add_argument("--port", type=int, required=True, help="the TCP port")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    parser.add_argument("--alias", default="", help="a second name in the protocol's paths")
    parser.add_argument("--check-answers", action="store_true", help="first answer the package's recorded rows rightly")
    options = parser.parse_args(arguments)
    try:
        address = options.host, options.port
        serve(options.model_directory, options.model_name, *address, alias=options.alias, check=options.check_answers)
    except StepworksError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


def serve(package: Path, model_name: str, host: str, port: int, *, alias: str = "", check: bool = False) -> None:
    """Serve a package until a signal ends it. What can be refused is refused before KServe's imports.

    Args:
        package: The package's folder.
        model_name: The model's name in the protocol's paths.
        host: The address to listen on.
        port: The TCP port; 0 for a free one.
        alias: A second name in the protocol's paths; empty for none.
        check: Whether it has to answer the package's recorded rows first as the trained model did.

    Raises:
        NotFoundError: There is no package.
        ServingError: The package was changed, is of another format, or is answered for otherwise than it was recorded.
        ResourceError: The port is in use, or this user may not listen there.
    """
    with listen(host, port) as listener:
        manifest = read_package(package)
        require_format(package, manifest, ONNXRUNTIME, "serve by this server")
        session = load_session(package)
        if check:
            _check(package, manifest, session)
        _serve(model_name, manifest, session, listener, alias)


def _check(package: Path, manifest: Manifest, session: Any) -> None:
    from stepworks.serving.check import require_own_answers

    samples = Samples.read(package)
    difference = require_own_answers(session, manifest, samples)
    sys.stdout.write(f"{len(samples.rows)} recorded rows are answered to {difference:.1e}\n")


def listen(host: str, port: int) -> socket.socket:
    """Bind a listening socket.

    Raises:
        ResourceError: The port is in use, or this user may not listen there.
    """
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        # Not only bound but listening, so that a second server on this port fails at once. Connections wait
        # until the model is loaded.
        listener.listen(128)
    except (OSError, OverflowError) as error:
        listener.close()
        raise ResourceError(
            f"Cannot listen on {host}, port {port}",
            received=getattr(error, "strerror", None) or str(error),
            expected="a free port that this user may listen on",
            what_to_do=f"Stop the process that uses port {port} (lsof -i :{port}), or choose another --port.",
        ) from error
    return listener


def _serve(model_name: str, manifest: Manifest, session: Any, listener: socket.socket, alias: str) -> None:
    sys.argv = sys.argv[:1]  # KServe reads the command line when it is imported; this one is not for it.
    os.environ.setdefault("KSERVE_LOGLEVEL", "WARNING")
    warnings.filterwarnings("ignore", message="ORJSONResponse is deprecated")  # KServe's own use of FastAPI.
    import kserve
    from kserve.model_server import app
    from kserve.protocol.rest.server import RESTServer

    from stepworks.serving.metrics import RequestMetrics
    from stepworks.serving.onnx_model import OnnxModel

    server = kserve.ModelServer(
        http_port=listener.getsockname()[1], enable_grpc=False, enable_latency_logging=False, grace_period=GRACE_SECONDS
    )
    for name in ("uvicorn.access", "uvicorn.error"):
        logging.getLogger(name).setLevel(logging.WARNING)
    model = OnnxModel(model_name, manifest, session)
    server.register_model(model)
    if alias:
        server.register_model(model, alias)
    app.add_middleware(RequestMetrics, model_name=model_name)
    host, port = listener.getsockname()[:2]
    sys.stdout.write(f"Serving {model_name} at http://{host}:{port} until Ctrl-C (Open Inference Protocol V2, REST)\n")
    sys.stdout.flush()
    # ModelServer.start() listens on every interface. This is the same REST server, on our own socket.
    RESTServer(
        "kserve.model_server:app",
        server.dataplane,
        server.model_repository_extension,
        server.http_port,
        grace_period=GRACE_SECONDS,
    ).run(sockets=[listener])


if __name__ == "__main__":
    sys.exit(main())
