"""What model servers tell Prometheus, and the queries by which a version's pods are made more and fewer.

The table is data: a server more is a row more. Names of metrics are those of each server's own documentation. In a
query `$version` stands for the name of the version's InferenceService, and `$namespace` for its namespace.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from stepworks.errors import ConfigurationError

Server = Literal["stepworks", "kserve", "triton", "vllm", "tgi", "torchserve"]
_BY_POD = 'pod=~"$version-predictor-.+", namespace="$namespace"'
"""The labels that the usual discovery of pods gives every series."""
_BY_MODEL = 'model_name="$version", namespace="$namespace"'


@dataclass(frozen=True)
class WaitingTime:
    """A counter of the time that all requests together have spent, from which their number follows.

    By Little's law (Little, 1961) the mean number of requests in a system is their rate times their mean time in it;
    both together are the growth of this counter per second.

    Attributes:
        counter: Its name.
        per_second: How many of its units are a second.
    """

    counter: str
    per_second: int = 1


@dataclass(frozen=True)
class ServerMetrics:
    """The metrics of a server.

    Attributes:
        requests: A counter of the requests.
        latency: A histogram of the time to the answer in seconds, without `_bucket`; empty where there is none.
        queue: A gauge of the requests that wait, or the time that they have waited.
        labels: Which series are those of a version.
    """

    requests: str
    latency: str
    queue: str | WaitingTime
    labels: str = _BY_POD

    @property
    def names(self) -> frozenset[str]:
        """The names of its metrics."""
        queue = self.queue if isinstance(self.queue, str) else self.queue.counter
        return frozenset(name for name in (self.requests, self.latency, queue) if name)


SERVERS: Mapping[Server, ServerMetrics] = {
    # Ours tells no queue: what counts is all that is at the server, waiting or being answered.
    "stepworks": ServerMetrics(
        "stepworks_server_requests_total",
        "stepworks_server_latency_seconds",
        WaitingTime("stepworks_server_latency_seconds_sum"),
        _BY_MODEL,
    ),
    # KServe's Python servers count what they have understood, and tell no queue, either.
    "kserve": ServerMetrics(
        "request_predict_seconds_count", "request_predict_seconds", WaitingTime("request_predict_seconds_sum")
    ),
    "triton": ServerMetrics("nv_inference_request_success", "", "nv_inference_pending_request_count"),
    "vllm": ServerMetrics(
        "vllm:request_success_total", "vllm:e2e_request_latency_seconds", "vllm:num_requests_waiting"
    ),
    "tgi": ServerMetrics("tgi_request_count", "tgi_request_duration", "tgi_queue_size"),
    "torchserve": ServerMetrics(
        "ts_inference_requests_total", "", WaitingTime("ts_queue_latency_microseconds", 1_000_000)
    ),
}


def counted_at_a_server(query: str) -> str | None:
    """The metric of a query that the model's own pods tell, and that is gone when there are none; None without one."""
    names = {name for metrics in SERVERS.values() for name in metrics.names}
    return next((name for name in sorted(names) if name in query), None)


def latency_query(server: Server, quantile: float, window_seconds: int, *, lives: bool = True) -> str:
    """The query of a quantile of the time to the answer, in seconds.

    Args:
        server: Whose metrics.
        quantile: Which, between 0 and 1.
        window_seconds: Of the requests of the last so many seconds.
        lives: Whether there is a pod at any time; see `_or_zero`.

    Raises:
        ConfigurationError: The server tells no histogram.
    """
    metrics = SERVERS[server]
    if not metrics.latency:
        with_one = [name for name, each in SERVERS.items() if each.latency]
        raise ConfigurationError(
            f"The server {server} tells Prometheus no histogram of its latencies",
            received=f"autoscaling by latency, with server: {server}",
            expected=f"one of {', '.join(with_one)}",
            what_to_do="Scale by queue_depth or requests_per_second; or by a query of your own, of a mesh.",
        )
    series = f"{metrics.latency}_bucket{{{metrics.labels}}}"
    asked = f"histogram_quantile({quantile:g}, sum by (le) (rate({series}[{window_seconds}s])))"
    return _or_zero(asked, series, lives=lives)


def queue_query(server: Server, window_seconds: int, *, lives: bool = True) -> str:
    """The query of how many requests wait at all pods of a version together.

    Args:
        server: Whose metrics.
        window_seconds: Of which last seconds the mean is taken, where the server tells waiting times only.
        lives: Whether there is a pod at any time; see `_or_zero`.
    """
    metrics = SERVERS[server]
    if isinstance(metrics.queue, str):
        series = f"{metrics.queue}{{{metrics.labels}}}"
        return _or_zero(f"sum({series})", series, lives=lives)
    series = f"{metrics.queue.counter}{{{metrics.labels}}}"
    asked = f"sum(rate({series}[{window_seconds}s]))"
    if metrics.queue.per_second != 1:
        asked += f" / {metrics.queue.per_second}"
    return _or_zero(asked, series, lives=lives)


def requests_query(server: Server, window_seconds: int, *, lives: bool = True) -> str:
    """The query of how many requests all pods of a version together get per second.

    Args:
        server: Whose metrics.
        window_seconds: The mean is that of the last so many seconds.
        lives: Whether there is a pod at any time; see `_or_zero`.
    """
    metrics = SERVERS[server]
    series = f"{metrics.requests}{{{metrics.labels}}}"
    return _or_zero(f"sum(rate({series}[{window_seconds}s]))", series, lives=lives)


def _or_zero(asked: str, series: str, *, lives: bool) -> str:
    """Let a query say 0 while nobody asks the model, instead of NaN or nothing.

    NaN fails every comparison, and so goes to the second part. Where there is always a pod that part still says nothing
    when no pod is scraped: what is not measured is not to be taken for idle.
    """
    return f"({asked} >= 0) or " + (f"(sum({series}) * 0)" if lives else "vector(0)")
