"""What a real Prometheus has counted of two versions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from stepworks.errors import ConfigurationError, ServingError
from stepworks.serving.metrics import ERRORS, LATENCY, REQUESTS
from stepworks.serving.rollout.prometheus import PrometheusSource, prometheus_source
from tests.prometheus_server import MISSING, WHY_MISSING, running_prometheus
from tests.waiting import wait_for

NAMESPACE = "team"
needs_prometheus = pytest.mark.skipif(MISSING, reason=WHY_MISSING)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusSource]:
    """A server that has scraped `flights-v1`: 40 requests, of which 4 failed, half of them in 3 ms and half in 30."""
    registry = CollectorRegistry()
    requests = Counter(REQUESTS, "Requests.", ["model_name"], registry=registry).labels("flights-v1")
    errors = Counter(ERRORS, "Errors.", ["model_name"], registry=registry).labels("flights-v1")
    name = LATENCY.removesuffix("_bucket")
    latency = Histogram(name, "Times.", ["model_name"], buckets=[0.005, 0.05], registry=registry).labels("flights-v1")
    unusable = Gauge("unusable", "No count.", ["model_name"], registry=registry)
    unusable.labels("flights-v1").set(float("nan"))
    requests.inc(40)
    errors.inc(4)
    for seconds in (0.003, 0.03, 0.3):
        for _ in range(20 if seconds < 0.3 else 1):
            latency.observe(seconds)
    server, thread = start_http_server(0, "127.0.0.1", registry)
    folder = tmp_path_factory.mktemp("prometheus")
    with running_prometheus(folder, [f"127.0.0.1:{server.server_port}"], {"namespace": NAMESPACE}) as url:
        found = PrometheusSource(url=url)
        wait_for("it has scraped", lambda: found.count("flights-v1", NAMESPACE).requests)
        yield found
    server.shutdown()
    thread.join()


@needs_prometheus
def test_it_counts_a_version(source: PrometheusSource) -> None:
    counted = source.count("flights-v1", NAMESPACE)
    assert (counted.requests, counted.errors) == (40, 4)
    assert counted.latency
    assert counted.latency.bounds_ms == (5, 50)
    assert counted.latency.counts == (20, 20, 1)


@needs_prometheus
@pytest.mark.parametrize(("version", "namespace"), [("flights-v2", NAMESPACE), ("flights-v1", "others")])
def test_of_a_version_that_nobody_asked_yet_it_knows_nothing(
    source: PrometheusSource, version: str, namespace: str
) -> None:
    counted = source.count(version, namespace)
    assert (counted.requests, counted.errors, counted.latency) == (0, 0, None)


@needs_prometheus
@pytest.mark.parametrize(
    ("changes", "received"),
    [
        ({"requests": 'unusable{model_name="$version"}'}, "nan"),
        ({"requests": 'vector(-1) # "$version"'}, "-1"),
        ({"requests": f'{LATENCY}{{model_name="$version"}}'}, "3 series"),
        ({"requests": 'sum(up{job="$version"'}, "parse error"),
        ({"requests": '"$version"'}, "a result of type string"),
        ({"latency": f'sum({LATENCY}{{model_name="$version"}})'}, "the series {}"),
        ({"latency": f'sum by (le) ({LATENCY}{{model_name="$version",le!="+Inf"}})'}, "buckets up to 0.05 s"),
    ],
)
def test_a_query_that_gives_no_count_is_told(source: PrometheusSource, changes: dict[str, str], received: str) -> None:
    with pytest.raises(ServingError) as caught:
        source.model_copy(update=changes).count("flights-v1", NAMESPACE)
    assert received in (caught.value.received or "").lower() or received in (caught.value.received or "")


def test_a_server_that_does_not_answer_is_told() -> None:
    with pytest.raises(ServingError, match=r"Prometheus does not answer at http://127\.0\.0\.1:1"):
        PrometheusSource(url="http://127.0.0.1:1").count("flights-v1", NAMESPACE)


@pytest.mark.parametrize(
    ("given", "received"),
    [
        ({"url": "prometheus:9090"}, "url"),
        ({"url": "http://prometheus:9090", "errors": "sum(errors)"}, "no $version, and would count the same for both"),
        ({"url": "http://prometheus:9090", "request": "x"}, "did you mean requests"),
    ],
)
def test_settings_that_cannot_work_are_refused(given: dict[str, str], received: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        prometheus_source(given)
    assert received in (caught.value.received or "")


def test_a_token_is_sent_and_not_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from http.server import BaseHTTPRequestHandler

    from tests.http_server import serving

    class Guarded(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            allowed = self.headers["Authorization"] == "Bearer open-sesame"
            body = b'{"status": "success", "data": {"resultType": "vector", "result": []}}' if allowed else b"{}"
            self.send_response(200 if allowed else 401)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setenv("PROMETHEUS_TOKEN", "open-sesame")
    with serving(Guarded) as port:
        guarded = PrometheusSource(url=f"http://127.0.0.1:{port}", token_variable="PROMETHEUS_TOKEN")
        assert guarded.count("flights-v1", NAMESPACE).requests == 0
        assert "open-sesame" not in repr(guarded)
        with pytest.raises(ServingError, match="401"):
            PrometheusSource(url=f"http://127.0.0.1:{port}").count("flights-v1", NAMESPACE)
