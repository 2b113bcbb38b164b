"""Whether a real server answers as the trained model does."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from stepworks.errors import ServingError
from stepworks.report.documents import ServingCheckDocument
from stepworks.serving.client import V2Client
from stepworks.serving.launch import ServerPlan, start_servers
from stepworks.serving.manifest import ONNXRUNTIME, Samples, read_package, require_format
from stepworks.supervisor.supervisor import Supervisor

TOLERANCE = 1e-5
"""The largest difference of probabilities that float32 arithmetic in another order may explain."""

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


def require_recorded_answers(
    client: V2Client, samples: Samples, tolerance: float = TOLERANCE
) -> tuple[float, list[float]]:
    """Send a server the recorded rows, and compare with the recorded answers.

    The rows are sent in one request, and again one by one: an error that depends on the batch shows, and the
    latencies are those of single requests.

    Args:
        client: A connection to the server.
        samples: The recorded rows and answers.
        tolerance: The largest allowed absolute difference of probabilities.

    Returns:
        The largest difference, and the latencies in milliseconds.

    Raises:
        ServingError: The server does not answer, or an answer differs.
    """
    together = client.ask(samples.rows)
    alone, latencies = [], []
    for row in samples.rows:
        started = time.monotonic()
        alone += client.ask([row])
        latencies.append((time.monotonic() - started) * 1000)
    return largest_difference(samples, together, alone, tolerance), latencies


def largest_difference(samples: Samples, together: list[float], alone: list[float], tolerance: float) -> float:
    """The largest absolute difference between a server's answers and the recorded ones.

    Args:
        samples: The recorded rows and answers.
        together: The server's answers to one request with all rows.
        alone: The server's answers to one request a row.
        tolerance: The largest allowed difference.

    Raises:
        ServingError: An answer differs by more, or is NaN; it names the worst row.
    """
    expected = np.array(samples.probabilities)
    differences = np.abs(np.array([together, alone]) - expected).max(axis=0)
    worst = int(np.argmax(differences))  # A NaN counts as the largest.
    if not differences[worst] <= tolerance:
        raise ServingError(
            "The server does not answer as the trained model does",
            received=f"{together[worst]!r} in one request for all rows, {alone[worst]!r} alone, "
            f"for the row {samples.rows[worst]}",
            expected=f"{expected[worst]!r}, to {tolerance:g}; "
            f"{int((~(differences <= tolerance)).sum())} of {len(expected)} rows differ more",
            what_to_do="Compare the graph's transform with that of transform_table for this row; do not deploy.",
        )
    return float(differences[worst])
