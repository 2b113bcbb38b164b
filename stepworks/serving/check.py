"""Whether a real server answers as the trained model does."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from stepworks.report.documents import ServingCheckDocument
from stepworks.serving.answers import largest_difference
from stepworks.serving.client import V2Client
from stepworks.serving.formats.kserve import SAME_ARITHMETIC
from stepworks.serving.launch import ServerPlan, start_servers
from stepworks.serving.manifest import ONNXRUNTIME, Manifest, Row, Samples, read_package, require_format
from stepworks.serving.session import tensors
from stepworks.supervisor.supervisor import Supervisor

TOLERANCE = SAME_ARITHMETIC

_NAME = "check"


def check_serving(package: str | Path, tolerance: float = TOLERANCE) -> ServingCheckDocument:
    """Start a server for a package, send it the recorded rows, and compare with the recorded answers.

    The server has ended when this returns or raises.

    Args:
        package: A package's folder.
        tolerance: The largest allowed absolute difference of probabilities.

    Returns:
        What was found; `passed` is true.

    Raises:
        NotFoundError: There is no package.
        ServingError: The package was changed or is of another format, the server does not start or answer, or an
            answer differs.
    """
    path = Path(package).absolute()
    require_format(path, read_package(path), ONNXRUNTIME, "check on our own server")
    samples = Samples.read(path)
    with tempfile.TemporaryDirectory() as folder, Supervisor(Path(folder)) as supervisor:
        started = time.monotonic()
        url = start_servers(supervisor, [ServerPlan(_NAME, path, _NAME)])[_NAME]
        start_seconds = time.monotonic() - started
        with V2Client(url, _NAME) as client:
            difference, latencies = require_recorded_answers(client, samples, tolerance)
    p50, p95 = np.percentile(latencies, [50, 95])
    return ServingCheckDocument(
        server="KServe model server, Open Inference Protocol V2 (REST), ONNX Runtime",
        rows=len(samples.rows),
        largest_difference=difference,
        tolerance=tolerance,
        passed=True,
        start_seconds=start_seconds,
        latency_p50_ms=float(p50),
        latency_p95_ms=float(p95),
    )


class Asked(Protocol):
    """A connection to a server."""

    def ask(self, rows: Sequence[Row]) -> Sequence[Any]:
        """The answers to rows."""
        ...


def require_recorded_answers(
    client: Asked, samples: Samples, tolerance: float = TOLERANCE, excused: float = 0.0
) -> tuple[float, list[float]]:
    """Send a server the recorded rows, and compare with the recorded answers.

    The rows are sent in one request, and again one by one: an error that depends on the batch shows, and the
    latencies are those of single requests.

    Args:
        client: A connection to the server.
        samples: The recorded rows and answers.
        tolerance: The largest allowed difference, as `difference` has it.
        excused: The share of the rows that may differ more.

    Returns:
        The largest difference, and the latencies in milliseconds.

    Raises:
        ServingError: The server does not answer, or an answer differs.
    """
    together = client.ask(samples.rows)
    alone: list[Any] = []
    latencies: list[float] = []
    for row in samples.rows:
        started = time.monotonic()
        alone += client.ask([row])
        latencies.append((time.monotonic() - started) * 1000)
    return largest_difference(samples, together, alone, tolerance, excused), latencies


def require_own_answers(session: Any, manifest: Manifest, samples: Samples, tolerance: float = TOLERANCE) -> float:
    """Have a server's session answer the recorded rows before anybody else gets an answer.

    Args:
        session: An ONNX Runtime session over the package's graph.
        manifest: The package's signature.
        samples: The recorded rows and answers.
        tolerance: The largest allowed absolute difference of probabilities.

    Returns:
        The largest difference.

    Raises:
        ServingError: An answer differs, or a row does not fit the signature.
    """

    def answers(rows: list[Row]) -> list[float]:
        return [float(value) for value in session.run(None, tensors(manifest, rows))[0][:, 0]]

    alone = [answers([row])[0] for row in samples.rows]
    return largest_difference(samples, answers(samples.rows), alone, tolerance)
