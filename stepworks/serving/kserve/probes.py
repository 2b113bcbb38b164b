"""Recorded requests to the versions of a model on a cluster."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import httpx

from stepworks.errors import ServingError
from stepworks.kube.model_traffic import Entrance
from stepworks.serving.client import TIMEOUT_SECONDS
from stepworks.serving.package_client import PackageClient
from stepworks.serving.rollout.probes import Probe, ProbeResult, Recorded
from stepworks.serving.split_admin import ArmName

_TRIES = 20
"""How many probes in a row may come back without the name of a version."""


class VersionProber:
    """Sends recorded rows to each version at its own address, in turn; to be used in a `with` block.

    Whatever share of the traffic they have, each is asked as often.

    Args:
        clients: A connection to each version; they are closed when the block ends.
        recorded: The rows for each, and what it has to answer.
    """

    def __init__(
        self, clients: Mapping[ArmName, PackageClient], recorded: Mapping[ArmName, Sequence[Recorded]]
    ) -> None:
        self._clients = clients
        self._rows = {arm: itertools.cycle(recorded[arm]) for arm in clients}
        self._arms = itertools.cycle(clients)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for client in self._clients.values():
            client.__exit__(kind, error, traceback)

    def send(self) -> ProbeResult:
        """Send the next row to the next version. One that does not answer at all has failed."""
        arm = next(self._arms)
        client, recorded = self._clients[arm], next(self._rows[arm])
        started = time.perf_counter()
        try:
            response = client.send([recorded.row])
        except ServingError:
            return ProbeResult(arm, wrong=False, failed=True, milliseconds=_since(started))
        return _result(arm, client, recorded.answer, response, _since(started))


class TrafficProber:
    """Sends every probe as clients do, to the model's address; to be used in a `with` block.

    So the probes keep to the shares of the versions, and what counts all requests may count them, too. An answer names
    the version that gave it. Of a failure without a name it is found out which version does not answer now: one that
    does not run any more counts nothing itself.

    Args:
        entrance: Where clients ask, where the traffic is split.
        clients: A connection to each version behind it, whose answers have its name as `model_name`; they are closed
            when the block ends.
        probes: What to send.
    """

    def __init__(self, entrance: Entrance, clients: Mapping[ArmName, PackageClient], probes: Sequence[Probe]) -> None:
        self._entrance = entrance
        self._headers = {"Content-Type": "application/json"} | ({"Host": entrance.host} if entrance.host else {})
        self._arms: dict[str, ArmName] = {client.name: arm for arm, client in clients.items()}
        self._clients = clients
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
                response = self._http.post(self._entrance.url, content=body, headers=self._headers)
            except httpx.HTTPError as error:
                received = f"{type(error).__name__}: {error}"
                continue
            if arm := self._arm_of(response):
                return _result(arm, self._clients[arm], probe.of(arm), response, _since(started))
            received = f"status {response.status_code}: {response.text[:300]}"
            if silent := self._silent(probe):
                return ProbeResult(silent, wrong=False, failed=True, milliseconds=_since(started), uncounted=True)
        raise ServingError(
            f"The model at {self._entrance.url} does not answer",
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


def _result(
    arm: ArmName, client: PackageClient, expected: Any, response: httpx.Response, milliseconds: float
) -> ProbeResult:
    failed = response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR
    return ProbeResult(arm, not failed and client.is_wrong(response, expected), failed, milliseconds)


def _since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
