"""The local traffic split: one address before a stable and a candidate server, which it asks by weight.

`python -m stepworks.serving.split --port P [--host 127.0.0.1]`

`GET /-/split` tells the arms and what each one did; `PUT /-/split` replaces the arms and the candidate's share
at once, and starts new counts. `GET /metrics` tells what both arms did since the split was started, as Prometheus
reads it; these counts only grow. Every other request is forwarded. The answer's header `x-stepworks-arm` names the arm
that gave it.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

import httpx
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from stepworks.errors import StepworksError
from stepworks.report.canary_document import LatencyHistogram
from stepworks.serving.server import GRACE_SECONDS, listen
from stepworks.serving.split_admin import (
    ADMIN_PATH,
    ARM_HEADER,
    LATENCY_BOUNDS_MS,
    METRICS_PATH,
    ArmCounts,
    ArmName,
    SplitSettings,
    SplitState,
    latency_bucket,
    no_latencies,
)

_GOLDEN_RATIO = (math.sqrt(5) - 1) / 2
_TIMEOUT_SECONDS = 30.0
_FORWARDED_HEADERS = {"content-type", "accept", "x-request-id", "inference-header-content-length"}


class _Tally:
    def __init__(self) -> None:
        self.requests = 0
        self.errors = 0
        self.milliseconds = 0.0
        self.latencies = no_latencies()

    def add(self, milliseconds: float, *, error: bool) -> None:
        self.requests += 1
        self.errors += error
        self.milliseconds += milliseconds
        self.latencies[latency_bucket(milliseconds)] += 1

    def counts(self) -> ArmCounts:
        latency = LatencyHistogram(bounds_ms=LATENCY_BOUNDS_MS, counts=self.latencies)
        return ArmCounts(requests=self.requests, errors=self.errors, latency=latency)


def _no_tallies() -> dict[ArmName, _Tally]:
    return {"stable": _Tally(), "candidate": _Tally()}


class _Epoch:
    """One setting and its counts. A request belongs to the epoch it came in, however long it takes."""

    def __init__(self, settings: SplitSettings) -> None:
        self.settings = settings
        self.tallies = _no_tallies()
        self._requests = 0

    def choose(self, *, inference: bool) -> ArmName:
        share = self.settings.percent / 100
        if not inference:
            return "candidate" if self.settings.stable is None or share > 0.5 else "stable"
        arm: ArmName = "candidate" if takes_candidate(self._requests, share) else "stable"
        self._requests += 1
        return arm

    def address(self, arm: ArmName) -> str | None:
        return self.settings.stable if arm == "stable" else self.settings.candidate


def takes_candidate(request: int, share: float) -> bool:
    """Whether the candidate answers the request of this number, counted from 0.

    The multiples of the golden ratio, modulo 1, spread more evenly than random numbers: of any 100 requests in
    a row, a share of 10 % takes 10, give or take one. They have no period that could meet one of the requests.
    """
    return ((request + 0.5) * _GOLDEN_RATIO) % 1.0 < share


class Split:
    """The application's state: the current epoch, and a connection pool."""

    def __init__(self) -> None:
        self.epoch = _Epoch(SplitSettings())
        self._all_time = _no_tallies()
        self._http: httpx.AsyncClient | None = None

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """Hold the connection pool while the application runs."""
        async with httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, trust_env=False) as self._http:
            yield

    async def tell(self, _: Request) -> JSONResponse:
        """Answer `GET /-/split`."""
        return self._state()

    async def change(self, request: Request) -> JSONResponse:
        """Answer `PUT /-/split`."""
        try:
            settings = SplitSettings.model_validate_json(await request.body())
        except ValidationError as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        self.epoch = _Epoch(settings)  # One assignment: a request sees all of the old settings, or all of the new.
        return self._state()

    async def metrics(self, _: Request) -> Response:
        """Answer `GET /metrics`."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return Response(generate_latest(registry), headers={"content-type": CONTENT_TYPE_LATEST})

    def collect(self) -> Iterable[Metric]:
        """What both arms did since the split was started, as families of Prometheus metrics."""
        requests = CounterMetricFamily("stepworks_split_requests", "Inference requests.", labels=["arm"])
        errors = CounterMetricFamily("stepworks_split_errors", "Those answered with 500 or above.", labels=["arm"])
        latency = HistogramMetricFamily("stepworks_split_latency_seconds", "Time to the answer.", labels=["arm"])
        bounds = [f"{bound / 1000:g}" for bound in LATENCY_BOUNDS_MS] + ["+Inf"]
        for arm, tally in self._all_time.items():
            requests.add_metric([arm], tally.requests)
            errors.add_metric([arm], tally.errors)
            buckets = list(zip(bounds, itertools.accumulate(tally.latencies), strict=True))
            latency.add_metric([arm], buckets, tally.milliseconds / 1000)
        return [requests, errors, latency]

    async def forward(self, request: Request) -> Response:
        """Answer every other request with what one of the arms answers."""
        epoch = self.epoch
        inference = request.method == "POST" and request.url.path.endswith("/infer")
        arm = epoch.choose(inference=inference)
        body = await request.body()
        started = time.perf_counter()
        response = await self._ask(epoch.address(arm), request, body)
        response.headers[ARM_HEADER] = arm
        if inference:
            milliseconds = (time.perf_counter() - started) * 1000
            for tallies in (epoch.tallies, self._all_time):
                tallies[arm].add(milliseconds, error=response.status_code >= 500)
        return response

    async def _ask(self, address: str | None, request: Request, body: bytes) -> Response:
        if address is None:
            return JSONResponse({"error": "No server stands behind this arm of the split."}, status_code=503)
        assert self._http is not None
        headers = {name: value for name, value in request.headers.items() if name in _FORWARDED_HEADERS}
        try:
            answer = await self._http.request(
                request.method,
                f"{address}{request.url.path}",
                params=request.url.query or None,
                content=body,
                headers=headers,
            )
        except httpx.HTTPError as error:
            return JSONResponse(
                {"error": f"The server at {address} does not answer ({type(error).__name__})."}, status_code=502
            )
        kept = {
            name: value for name, value in answer.headers.items() if name.startswith(("content-type", "inference-"))
        }
        return Response(answer.content, answer.status_code, headers=kept)

    def _state(self) -> JSONResponse:
        arms = {arm: tally.counts() for arm, tally in self.epoch.tallies.items()}
        return JSONResponse(SplitState(settings=self.epoch.settings, arms=arms).model_dump())


def application() -> Starlette:
    """The split as an ASGI application, without arms."""
    split = Split()
    return Starlette(
        routes=[
            Route(ADMIN_PATH, split.tell, methods=["GET"]),
            Route(ADMIN_PATH, split.change, methods=["PUT"]),
            Route(METRICS_PATH, split.metrics, methods=["GET"]),
            Route("/{path:path}", split.forward, methods=["GET", "POST"]),
        ],
        lifespan=split.lifespan,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Split traffic until a signal ends the process.

    Args:
        arguments: The command line; that of this process by default.

    Returns:
        The exit code: 1 if the port is in use.
    """
    parser = argparse.ArgumentParser(prog="python -m stepworks.serving.split", description="Split V2 traffic.")
    parser.add_argument("--port", type=int, required=True, help="the TCP port")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        with listen(options.host, options.port) as listener:
            config = uvicorn.Config(
                application(), log_level="warning", access_log=False, timeout_graceful_shutdown=GRACE_SECONDS
            )
            uvicorn.Server(config).run(sockets=[listener])
    except StepworksError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
