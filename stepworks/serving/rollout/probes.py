"""Recorded requests whose right answers are known, for both versions."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import httpx

from stepworks.errors import ServingError
from stepworks.report.canary_document import CanaryArm, LatencyHistogram
from stepworks.serving.answers import expected_answers
from stepworks.serving.check import TOLERANCE
from stepworks.serving.client import V2Client, probabilities
from stepworks.serving.judging.counts import arm
from stepworks.serving.manifest import Row, Samples
from stepworks.serving.session import predict_rows
from stepworks.serving.split_admin import ARM_HEADER, LATENCY_BOUNDS_MS, ArmName, latency_bucket, no_latencies


@dataclass(frozen=True)
class Probe:
    """One raw row, and what each version has to answer; `stable` is missing when there is no stable version."""

    row: Row
    candidate: float
    stable: float | None

    def of(self, name: ArmName) -> float | None:
        """What a version has to answer."""
        return self.candidate if name == "candidate" else self.stable


@dataclass(frozen=True)
class Recorded:
    """A row, and what a version has to answer to it; nothing is right where that is None."""

    row: Row
    answer: Any


@dataclass(frozen=True)
class ProbeResult:
    """What became of one probe.

    Attributes:
        arm: Which version was asked.
        wrong: Whether its answer was wrong. A server's error is not a wrong answer.
        failed: Whether it answered with 500 and above, or not at all.
        milliseconds: How long the answer took, as seen from here.
        uncounted: Whether the version itself cannot have counted it, as one that does not run any more.
    """

    arm: ArmName
    wrong: bool
    failed: bool = False
    milliseconds: float = 0.0
    uncounted: bool = False


class Prober(Protocol):
    """Sends recorded requests to a service, one after the other."""

    def send(self) -> ProbeResult:
        """Send the next one, starting over after the last."""
        ...


class Tally:
    """What the probes of a stage saw of each arm; `uncounted` are those that only they saw."""

    def __init__(self) -> None:
        self._sent: Counter[ArmName] = Counter()
        self._failed: Counter[ArmName] = Counter()
        self._wrong: Counter[ArmName] = Counter()
        self.uncounted: Counter[ArmName] = Counter()
        self._latencies: dict[ArmName, list[int]] = {"stable": no_latencies(), "candidate": no_latencies()}

    def add(self, result: ProbeResult) -> None:
        """Count one probe."""
        self._sent[result.arm] += 1
        self._failed[result.arm] += result.failed
        self._wrong[result.arm] += result.wrong
        self.uncounted[result.arm] += result.uncounted
        self._latencies[result.arm][latency_bucket(result.milliseconds)] += 1

    @property
    def arms(self) -> dict[ArmName, CanaryArm]:
        """The counts so far."""
        return {
            name: arm(
                requests=self._sent[name],
                errors=self._failed[name],
                wrong_answers=self._wrong[name],
                probes=self._sent[name],
                latency=LatencyHistogram(bounds_ms=LATENCY_BOUNDS_MS, counts=counts),
            )
            for name, counts in self._latencies.items()
        }


def read_probes(candidate: Path, stable: Path | None) -> list[Probe]:
    """The candidate's recorded samples as probes.

    The candidate has to answer what its trained model answered; the stable version, what its package answers
    offline on the same rows.

    Args:
        candidate: The candidate's package.
        stable: The stable version's package.

    Raises:
        NotFoundError: A package is not there.
        ServingError: A package was changed, or the rows do not fit the stable version.
    """
    samples = Samples.read(candidate)
    answers = [None] * len(samples.rows) if stable is None else predict_rows(stable, samples.rows)
    probes = [Probe(*each) for each in zip(samples.rows, samples.probabilities, answers, strict=True)]
    # A row that the stable version answers by no number would be held against nobody but the roll-out.
    return [probe for probe in probes if probe.stable is None or math.isfinite(probe.stable)]


def recorded_rows(packages: Mapping[ArmName, Path], *, ours: bool) -> dict[ArmName, list[Recorded]]:
    """What each version is asked at an address of its own.

    Args:
        packages: The versions' packages.
        ours: Whether our own server runs all of them. Then both are asked the candidate's rows, or else each its own.

    Raises:
        NotFoundError: A package is not there.
        ServingError: A package was changed or has no usable samples, or the rows do not fit the stable version.
    """
    if ours:
        probes = read_probes(packages["candidate"], packages.get("stable"))
        return {arm: [Recorded(probe.row, probe.of(arm)) for probe in probes] for arm in packages}
    samples = {arm: Samples.read(package) for arm, package in packages.items()}
    return {
        arm: [Recorded(*each) for each in zip(of_arm.rows, expected_answers(of_arm), strict=True)]
        for arm, of_arm in samples.items()
    }


class HttpProber:
    """Sends probes by the Open Inference Protocol V2; to be used in a `with` block.

    Args:
        url: The service's address.
        service: The model's name in the protocol's paths.
        probes: What to send.
        tolerance: The largest difference of probabilities that is no wrong answer.
    """

    def __init__(self, url: str, service: str, probes: Sequence[Probe], tolerance: float = TOLERANCE) -> None:
        self._client = V2Client(url, service)
        self._probes = probes
        self._tolerance = tolerance
        self._sent = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._client.__exit__(kind, error, traceback)

    def send(self) -> ProbeResult:
        """Send the next probe.

        Raises:
            ServingError: The service does not answer, or is not behind a split.
        """
        probe = self._probes[self._sent % len(self._probes)]
        self._sent += 1
        started = time.perf_counter()
        response = self._client.send([probe.row])
        milliseconds = (time.perf_counter() - started) * 1000
        name = response.headers.get(ARM_HEADER)
        if name not in {"stable", "candidate"}:
            raise ServingError(
                "The answer does not tell which version gave it",
                received=f"no header {ARM_HEADER} from {response.request.url}",
                expected="the address of a traffic split",
                what_to_do="Give the url of the deployment.",
            )
        failed = response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR
        wrong = not failed and is_wrong(response, probe.of(name), self._tolerance)
        return ProbeResult(name, wrong, failed, milliseconds)


def is_wrong(response: httpx.Response, expected: float | None, tolerance: float = TOLERANCE) -> bool:
    """Whether an answer to a probe is not the right one.

    Args:
        response: The answer, which is no error of the server.
        expected: What the version has to answer; None where nothing is right.
        tolerance: The largest difference of probabilities that is right.
    """
    if response.status_code != httpx.codes.OK or expected is None:
        return True
    try:
        return not abs(probabilities(response)[0] - expected) <= tolerance
    except (ValueError, TypeError, LookupError, StopIteration):  # the answer has another form
        return True
