"""Recorded requests to the versions of a model on a cluster."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import httpx

from stepworks.errors import ServingError
from stepworks.serving.client import TIMEOUT_SECONDS, V2Client
from stepworks.serving.rollout.probes import Probe, ProbeResult, is_wrong
from stepworks.serving.split_admin import ArmName

_TRIES = 20
"""How many probes in a row may come back without the name of a version."""


@dataclass(frozen=True)
class ProbedVersion:
    """A version that is asked: the name by which its server knows the model, and the server's address."""

    name: str
    url: str


class VersionProber:
    """Sends every probe to each version at its own address; to be used in a `with` block.

    Both versions get the same rows as often, whatever share of the traffic they have.

    Args:
        versions: The versions.
        probes: What to send.
    """

    def __init__(self, versions: Mapping[ArmName, ProbedVersion], probes: Sequence[Probe]) -> None:
        self._clients = {arm: V2Client(version.url, version.name) for arm, version in versions.items()}
        self._next: Iterator[tuple[Probe, ArmName]] = itertools.cycle(itertools.product(probes, versions))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for client in self._clients.values():
            client.__exit__(kind, error, traceback)

    def send(self) -> ProbeResult:
        """Send the next probe to the next version. One that does not answer at all has failed."""
        probe, arm = next(self._next)
        started = time.perf_counter()
        try:
            response = self._clients[arm].send([probe.row])
        except ServingError:
            return ProbeResult(arm, wrong=False, failed=True, milliseconds=_since(started))
        return _result(arm, probe, response, _since(started))


class TrafficProber:
    """Sends every probe as clients do, to the model's address; to be used in a `with` block.

    So the probes keep to the shares of the versions, and what counts all requests may count them, too. An answer names
    the version that gave it. Of a failure without a name it is found out which version does not answer now: one that
    does not run any more counts nothing itself.

    Args:
        url: The model's address, where a router splits the traffic.
        versions: The versions behind it.
        probes: What to send.
    """

    def __init__(self, url: str, versions: Mapping[ArmName, ProbedVersion], probes: Sequence[Probe]) -> None:
        self._url = url
        self._arms: dict[str, ArmName] = {version.name: arm for arm, version in versions.items()}
        self._clients = {arm: V2Client(version.url, version.name) for arm, version in versions.items()}
        self._http = httpx.Client(timeout=TIMEOUT_SECONDS, trust_env=False)
        self._next = itertools.cycle(probes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for client in self._clients.values():
            client.__exit__(kind, error, traceback)
        self._http.close()

    def send(self) -> ProbeResult:
        """Send probes until it is known of one which version it was for.

        Raises:
            ServingError: Of many it is not known.
        """
        received = ""
        for _ in range(_TRIES):
            probe = next(self._next)
            body = self._clients["candidate"].body([probe.row])
            started = time.perf_counter()
            try:
                response = self._http.post(self._url, json=body)
            except httpx.HTTPError as error:
                received = f"{type(error).__name__}: {error}"
                continue
            if arm := self._arm_of(response):
                return _result(arm, probe, response, _since(started))
            received = f"status {response.status_code}: {response.text[:300]}"
            if silent := self._silent(probe):
                return ProbeResult(silent, wrong=False, failed=True, milliseconds=_since(started), uncounted=True)
        raise ServingError(
            f"The model at {self._url} does not answer",
            received=f"{received}, as the last of {_TRIES} answers",
            expected=f"answers of {' or '.join(self._arms)}, whose model_name says which",
            what_to_do="Look at the pods of the model's router, and at those of its versions.",
        )

    def _silent(self, probe: Probe) -> ArmName | None:
        """The one version that does not answer at all when it is asked directly."""
        silent: list[ArmName] = []
        for arm, client in self._clients.items():
            try:
                client.send([probe.row])
            except ServingError:
                silent.append(arm)
        return silent[0] if len(silent) == 1 else None

    def _arm_of(self, response: httpx.Response) -> ArmName | None:
        try:
            return self._arms.get(response.json()["model_name"])
        except (ValueError, KeyError, TypeError):
            return None


def _result(arm: ArmName, probe: Probe, response: httpx.Response, milliseconds: float) -> ProbeResult:
    failed = response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR
    expected = probe.stable if arm == "stable" else probe.candidate
    return ProbeResult(arm, not failed and is_wrong(response, expected), failed, milliseconds)


def _since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
