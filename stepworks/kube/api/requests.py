"""Requests to the API server: timeouts, retries within a deadline, and failures explained."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.refusals import Operation, explain, is_schema_fault, read_status

RETRY_SECONDS = 60.0
"""How long a request is tried again: about as long as an API server takes to restart."""
CONNECT_SECONDS = 5.0
READ_SECONDS = 35.0
"""Longer than the 30 seconds that the API server gives a webhook."""
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
_LONGEST_ASKED_PAUSE = 30.0
"""The longest pause that a server may ask for; a proxy in between may ask for an hour."""
_RETRIED = frozenset({429, 500, 502, 503, 504})
_COMING_UP_SECONDS = 15.0
"""How long an API server that was away may go without its roles, ServiceAccounts and CRDs: it answers before it has
read them, and refuses in the meantime what it allowed before."""


@dataclass(frozen=True)
class Request:
    """One request.

    Attributes:
        operation: What it is, for errors.
        method: `GET`.
        path: The path on the server.
        query: The query's parameters.
        body: What is sent, as JSON.
        content_type: What the body is.
    """

    operation: Operation
    method: str
    path: str
    query: Sequence[tuple[str, str]] = ()
    body: Mapping[str, Any] | None = None
    content_type: str = "application/json"


class Attempts:
    """Counts the failures of a request, and decides after each whether there is another attempt.

    Args:
        cluster: Where.
        operation: What is asked for.
        seconds: How long to go on after the first failure since the server last answered.
        wake: Ends the pauses, and with them the attempts.
    """

    def __init__(
        self,
        cluster: Cluster,
        operation: Operation,
        seconds: float = RETRY_SECONDS,
        wake: threading.Event | None = None,
    ) -> None:
        self.maybe_carried_out = False
        """Whether a failed attempt may have reached the server."""
        self._cluster = cluster
        self._operation = operation
        self._seconds = seconds
        self._wake = wake
        self.succeeded()

    def succeeded(self) -> None:
        """Begin anew: the server answered."""
        self.last_failure: Exception | None = None
        self._pause = _FIRST_PAUSE
        self._deadline: float | None = None
        self._refused_until: float | None = None
        self._away_until: float | None = None

    def failed(self, error: Exception, *, again: bool = False) -> None:
        """Sleep until it is time for the next attempt.

        Args:
            error: What the official client raised.
            again: Whether the caller knows that another attempt helps.

        Raises:
            StepworksError: There is no use in another attempt, or no time; it explains the failure.
        """
        clock = self._cluster.clock
        self.last_failure = error
        if self._deadline is None:
            self._deadline = min(clock.now() + self._seconds, self._cluster.give_up_at)
        if getattr(error, "status", None) == 401:
            if self._cluster.renew:
                self._cluster.renew()
            if self._refused_until is None:
                self._refused_until = clock.now() + RETRY_SECONDS
                if self._cluster.renew:
                    return
            # A server that took them before may refuse them for a moment, while it cannot ask whoever knows them.
            again |= self._has_answered() and clock.now() < self._refused_until
        if _is_away(error):
            self._away_until = clock.now() + _COMING_UP_SECONDS
        again |= self._away_until is not None and clock.now() < self._away_until and _is_of_coming_up(error)
        pause = max(self._pause * random.uniform(0.5, 1.0), _retry_after(error))
        left = self._deadline - clock.now()
        if not (again or self._worth_retrying(error)) or left <= 0:
            raise explain(error, self._operation) from error
        self.maybe_carried_out |= _may_have_arrived(error)
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        clock.sleep(min(pause, left), self._wake)
        if self._wake and self._wake.is_set():
            raise explain(error, self._operation) from error

    def _worth_retrying(self, error: Exception) -> bool:
        from urllib3.exceptions import LocationValueError, NameResolutionError

        status = getattr(error, "status", None)
        if status is None:
            if isinstance(error, NameResolutionError):  # of a server that is known, or of a name that is wrong
                return self._has_answered()
            return not isinstance(error, LocationValueError)
        if status == 0:  # TLS failed: a server that goes down does that too, a certificate stays what it is
            return "CERTIFICATE" not in str(error).upper()
        return status in _RETRIED and not is_schema_fault(read_status(error))

    def _has_answered(self) -> bool:
        """Whether the server has answered before: it is asked for its kinds before it is asked for anything else."""
        return bool(self._cluster.discovered)


def send(cluster: Cluster, request: Request, attempts: Attempts | None = None) -> Any:
    """Send a request, again and again while that helps, and return what the server answered.

    Args:
        cluster: Where.
        request: One that may be repeated: the API server carries it out twice with the effect of once.
        attempts: Tells the caller afterwards whether an attempt that failed may have been carried out.

    Returns:
        The answer's JSON.

    Raises:
        StepworksError: What the server refused, or that it does not answer.
    """
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError

    attempts = attempts or Attempts(cluster, request.operation)
    while True:
        try:
            return json.loads(open_response(cluster, request).data)
        except (ApiException, HTTPError, ValueError) as error:
            attempts.failed(error)


def open_response(cluster: Cluster, request: Request, *, read_seconds: float = READ_SECONDS) -> Any:
    """Send a request once, and return urllib3's response, whose body is still to be read.

    Raises:
        ApiException: The server refuses.
        HTTPError: There is no answer.
    """
    return cluster.client.call_api(
        request.path,
        request.method,
        query_params=list(request.query),
        header_params={"Accept": "application/json", "Content-Type": request.content_type},
        body=request.body,
        auth_settings=["BearerToken"],
        _return_http_data_only=True,
        _preload_content=False,
        _request_timeout=(CONNECT_SECONDS, read_seconds),
    )


def _is_away(error: Exception) -> bool:
    return (getattr(error, "status", None) or 500) in (500, 502, 503, 504)


def _is_of_coming_up(error: Exception) -> bool:
    """Whether a server that has not read everything yet answers like this."""
    status = getattr(error, "status", None)
    if status == 404:  # of a path, and not of an object
        return not (read_status(error).get("details") or {}).get("name")
    return status in (401, 403)


def _may_have_arrived(error: Exception) -> bool:
    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

    return getattr(error, "status", None) not in (0, 429) and not isinstance(
        error, ConnectTimeoutError | NewConnectionError
    )


def _retry_after(error: Exception) -> float:
    """The pause that the server asks for with Retry-After, in seconds."""
    headers = getattr(error, "headers", None) or {}
    try:
        return min(max(0.0, float(headers.get("Retry-After", 0))), _LONGEST_ASKED_PAUSE)
    except ValueError:  # a date, which Kubernetes does not send
        return 0.0
