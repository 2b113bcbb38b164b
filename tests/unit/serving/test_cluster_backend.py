"""What the backend of a cluster makes of the counts that it is given."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import pytest

from stepworks.kube.api.cluster import Cluster
from stepworks.kube.model_traffic import ModelTraffic
from stepworks.serving.kserve.backend import ClusterBackend
from stepworks.serving.kserve.versions import ServedVersion, Versions
from stepworks.serving.manifest import Manifest
from stepworks.serving.rollout.prometheus import PrometheusSource
from tests.http_server import serving

COUNTS: dict[str, int] = {}


class Counts(BaseHTTPRequestHandler):
    """Answer queries as Prometheus does: nothing of a version that it does not know."""

    def do_GET(self) -> None:
        (query,) = parse_qs(urlsplit(self.path).query)["query"]
        result = f'[{{"metric": {{}}, "value": [0, "{COUNTS[query]}"]}}]' if query in COUNTS else "[]"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f'{{"status": "success", "data": {{"resultType": "vector", "result": {result}}}}}'.encode())

    def log_message(self, *_: object) -> None:
        pass


def arm_of(version: int) -> ServedVersion:
    service: dict[str, Any] = {"metadata": {"name": f"flights-v{version}"}}
    return ServedVersion(str(version), service, Path(), Manifest(inputs=(), files={}, digest=""))


@pytest.fixture
def backend() -> Iterator[ClusterBackend]:
    COUNTS.clear()
    cluster = cast("Cluster", SimpleNamespace(namespace="team"))
    with serving(Counts) as port:
        source = PrometheusSource(
            url=f"http://127.0.0.1:{port}", requests="requests $version", errors="errors $version", latency=""
        )
        yield ClusterBackend(
            cluster, "flights", cast("ModelTraffic", None), arm_of(1), arm_of(2), source, cast("Versions", None)
        )


def count(stable: int, candidate: int, errors: int = 0) -> None:
    COUNTS.update(
        {
            "requests flights-v1": stable,
            "errors flights-v1": 0,
            "requests flights-v2": candidate,
            "errors flights-v2": errors,
        }
    )


def seen(backend: ClusterBackend) -> tuple[int, int, int] | str:
    traffic = backend.observe()
    assert traffic.stable
    return traffic.problem or (traffic.stable.requests, traffic.candidate.requests, traffic.candidate.errors)


def test_what_was_counted_before_the_share_was_set_does_not_count(backend: ClusterBackend) -> None:
    count(1000, 50, 5)
    assert seen(backend) == (0, 0, 0)
    count(1100, 60, 6)
    assert seen(backend) == (100, 10, 1)


def test_a_new_version_begins_at_nothing(backend: ClusterBackend) -> None:
    COUNTS["requests flights-v1"] = 1000
    assert seen(backend) == (0, 0, 0)
    count(1100, 10, 1)
    assert seen(backend) == (100, 10, 1)


@pytest.mark.parametrize("fallen", [600, None])
def test_counts_that_fall_are_a_problem_and_not_new_requests(backend: ClusterBackend, fallen: int | None) -> None:
    count(1000, 50)
    seen(backend)
    count(1100, 60)
    if fallen is None:  # one scrape failed
        del COUNTS["requests flights-v1"]
    else:  # one of several pods has ended
        COUNTS["requests flights-v1"] = fallen
    assert "fell" in seen(backend)  # type: ignore[operator]
    count(fallen or 1100, 60)
    assert seen(backend) == (0, 0, 0)
    count((fallen or 1100) + 90, 70)
    assert seen(backend) == (90, 10, 0)
