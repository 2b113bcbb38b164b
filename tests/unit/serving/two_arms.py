"""Two versions that behave as told: no server, no network, and a clock of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable

from stepworks.errors import ServingError
from stepworks.report.canary_document import CanaryDocument, LatencyHistogram
from stepworks.serving.judging.counts import arm
from stepworks.serving.rollout.backend import Traffic
from stepworks.serving.rollout.policy import LAPTOP
from stepworks.serving.rollout.probes import ProbeResult
from stepworks.serving.rollout.rollout import roll_out
from stepworks.serving.split import takes_candidate
from stepworks.serving.split_admin import LATENCY_BOUNDS_MS, latency_bucket, no_latencies

SECONDS = 0.005
"""How long an answer takes here."""


class Service:
    """Two arms in memory, as a backend, as its prober and as the clock: each probe takes its time.

    `wrong` and `error` name the arm that misbehaves, `every` how often; `slow` takes so many milliseconds.
    """

    service = "flights"
    candidate_version = "2"

    def __init__(
        self,
        *,
        stable: bool = True,
        wrong: str = "",
        error: str = "",
        slow: dict[str, float] | None = None,
        every: int = 1,
        breaks_at: int | None = None,
    ) -> None:
        self.stable_version = "1" if stable else None
        self.wrong, self.error, self.slow, self.every, self.breaks_at = wrong, error, slow or {}, every, breaks_at
        self.log: list[str] = []
        self.time = 0.0
        self.probes = 0
        self.traffic: Callable[[Traffic], Traffic] = lambda traffic: traffic
        self.set_percent(0)
        self.log.clear()

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float, wake: threading.Event | None = None) -> None:
        self.time += seconds

    def set_percent(self, percent: int) -> None:
        self.log.append(f"{percent} %")
        self.percent = percent
        self.counts = {name: {"requests": 0, "errors": 0} for name in ("stable", "candidate")}
        self.latencies = {name: no_latencies() for name in self.counts}
        self.sent = 0

    def send(self) -> ProbeResult:
        if self.percent == self.breaks_at:
            raise ServingError("The split is gone")
        name = "candidate" if takes_candidate(self.sent, self.percent / 100) else "stable"
        self.sent += 1
        self.probes += 1
        counts = self.counts[name]
        counts["requests"] += 1
        is_bad = counts["requests"] % self.every == 0
        failed = name == self.error and is_bad
        counts["errors"] += failed
        milliseconds = self.slow.get(name, SECONDS * 1000)
        self.latencies[name][latency_bucket(milliseconds)] += 1
        self.time += milliseconds / 1000
        return ProbeResult(name, name == self.wrong and is_bad, failed, milliseconds)

    def observe(self) -> Traffic:
        arms = {
            name: arm(**counts, latency=LatencyHistogram(bounds_ms=LATENCY_BOUNDS_MS, counts=self.latencies[name]))
            for name, counts in self.counts.items()
        }
        return self.traffic(Traffic(arms["stable"] if self.stable_version else None, arms["candidate"]))

    def promote(self) -> None:
        self.log.append("promote")

    def roll_back(self) -> None:
        self.log.append("roll back")


def run(service: Service, **policy: object) -> CanaryDocument:
    return roll_out(service, LAPTOP.model_copy(update=policy), service, clock=service)
