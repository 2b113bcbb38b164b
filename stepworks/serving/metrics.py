"""What a model server tells Prometheus of each version: how many requests, how many failed, how long they took.

KServe's own histograms time the work on a request that was understood, and count no failures.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from stepworks.serving.split_admin import LATENCY_BOUNDS_MS

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUESTS = "stepworks_server_requests_total"
ERRORS = "stepworks_server_errors_total"
LATENCY = "stepworks_server_latency_seconds_bucket"
MODEL_LABEL = "model_name"


class RequestMetrics:
    """A layer around the server's application that counts the inference requests.

    Args:
        app: The application.
        model_name: The model's name in the protocol's paths; with KServe that of a version.
    """

    def __init__(self, app: ASGIApp, model_name: str) -> None:
        from prometheus_client import Counter, Histogram

        self._app = app
        labels = [MODEL_LABEL]
        bounds = [bound / 1000 for bound in LATENCY_BOUNDS_MS]
        self._requests = Counter(REQUESTS, "Inference requests.", labels).labels(model_name)
        self._errors = Counter(ERRORS, "Those answered with 500 or above.", labels).labels(model_name)
        name = LATENCY.removesuffix("_bucket")
        self._latency = Histogram(name, "Time to the answer.", labels, buckets=bounds).labels(model_name)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http" or not scope["path"].endswith("/infer"):
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def tell(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, tell)
        finally:
            self._latency.observe(time.perf_counter() - started)
            self._requests.inc()
            self._errors.inc(status >= 500)
