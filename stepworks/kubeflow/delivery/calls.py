"""One call of Kubeflow's API: its answer, or an error that says what to do.

An answer can be lost after the server has acted on the request. What does the same when it is done again is tried
again (`call_again`); what would be there twice is looked for first (`settle`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import urllib3
from kfp_server_api import ApiException

from stepworks.errors import ConfigurationError, DeliveryError, NotFoundError

TIMEOUT_SECONDS = (10, 60)
"""For the connection and for the answer."""

FIRST_PAUSE_SECONDS = 0.5
"""Before the second attempt; twice as long before each further one."""

ATTEMPTS = 4
"""How often a read is tried in all."""

_Answer = TypeVar("_Answer")


class NoAnswerError(DeliveryError):
    """The server may or may not have done what was asked: the connection broke, or it answered 5xx or 429."""

    def __init__(self, problem: str, *, received: str, retry_after: float | None = None) -> None:
        super().__init__(
            problem,
            received=received,
            expected="an answer of Kubeflow Pipelines",
            what_to_do="Run the command again: it goes on where it stopped. Else look at ml-pipeline's log.",
        )
        self.retry_after = retry_after


class AlreadyExistsError(DeliveryError):
    """The server has an object of that name (409)."""


def call_again(what: str, function: Callable[..., _Answer], *arguments: Any, **named: Any) -> _Answer:
    """Call a function of the API that does the same when it is called again; so again, when there is no answer.

    Args:
        what: What is done, for the message: `read the pipeline x`.
        function: The function of the generated client.
        arguments: Its arguments.
        named: Its named arguments.

    Raises:
        NotFoundError: There is no such object.
        ConfigurationError: The server cannot be reached, asks for another login, or refuses the request.
        NoAnswerError: It did not answer, `ATTEMPTS` times.
    """
    for attempt in range(1, ATTEMPTS):
        try:
            return call_once(what, function, *arguments, **named)
        except NoAnswerError as error:
            time.sleep(error.retry_after or _pause(attempt))
    return call_once(what, function, *arguments, **named)


def settle(write: Callable[[], _Answer], find: Callable[[], _Answer | None]) -> _Answer:
    """Write something that must not be there twice.

    When the answer is lost, or another process was faster, the object is looked for before it is written again.

    Args:
        write: Writes it.
        find: Finds what `write` made, or what another process made in its place.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return write()
        except AlreadyExistsError:
            found = find()
            if found is None:
                raise
            return found
        except NoAnswerError as error:
            time.sleep(error.retry_after or _pause(attempt))
            found = find()
            if found is not None:
                return found
            if attempt == ATTEMPTS:
                raise
    raise AssertionError("the last attempt returns or raises")


def _pause(attempt: int) -> float:
    """Seconds to wait after an attempt."""
    return FIRST_PAUSE_SECONDS * 2.0 ** (attempt - 1)


def call_once(what: str, function: Callable[..., _Answer], *arguments: Any, **named: Any) -> _Answer:
    """Call a function of the API once, and say its errors in our words; see `call_again`."""
    try:
        return function(*arguments, _request_timeout=TIMEOUT_SECONDS, **named)
    except ApiException as error:
        _refused(what, error)
    except urllib3.exceptions.MaxRetryError as error:
        if isinstance(error.reason, urllib3.exceptions.NewConnectionError | urllib3.exceptions.ConnectTimeoutError):
            raise ConfigurationError(
                f"Cannot reach Kubeflow Pipelines to {what}",
                received=str(error.reason).rpartition(": ")[2],
                expected=f"an API server at {_address(error)}",
                what_to_do="Correct the host, or open the way: kubectl port-forward -n kubeflow svc/ml-pipeline 8888",
            ) from error
        raise NoAnswerError(f"Could not {what}", received=_reason(error)) from error
    except urllib3.exceptions.HTTPError as error:
        raise NoAnswerError(f"Could not {what}", received=f"{type(error).__name__}: {error}") from error
    except (ValueError, AttributeError, TypeError) as error:
        # What the generated client raises when an answer has another shape, for example a page of HTML.
        raise ConfigurationError(
            f"Could not {what}: what answers is not the API server of Kubeflow Pipelines 2",
            received=f"{type(error).__name__}: {error}",
            expected="JSON as the API v2beta1 gives it",
            what_to_do="Correct the host; where the user interface asks for a login, give a token.",
        ) from error


def _address(error: urllib3.exceptions.MaxRetryError) -> str:
    pool: Any = error.pool
    return f"{pool.scheme}://{pool.host}:{pool.port or ''}".rstrip(":")


def _reason(error: urllib3.exceptions.MaxRetryError) -> str:
    return f"{type(error.reason).__name__}: {error.reason}" if error.reason else str(error)


def _refused(what: str, error: ApiException) -> NoReturn:
    """Raise what a status and its message mean to the caller."""
    status, message = int(error.status or 0), _message(error)
    received = f"{status}: {message}" if status else message
    if status == 0:
        raise ConfigurationError(
            f"Could not {what}: the server's certificate is not trusted",
            received=received.partition("\n")[2] or received,
            what_to_do="Give the certificate authority with --ca-file.",
        ) from error
    if status == 401:
        raise ConfigurationError(
            f"Could not {what}: Kubeflow Pipelines does not accept the login",
            received=received,
            expected="a token that is valid now and made for Kubeflow Pipelines (audience pipelines.kubeflow.org)",
            what_to_do="Make a new token, and say where it is: --token-from env:NAME or file:PATH.",
        ) from error
    if status == 403:
        raise ConfigurationError(
            f"Could not {what}: the login is not allowed to",
            received=received,
            what_to_do="Ask the cluster's owner for the role kubeflow-pipelines-edit, or name another --namespace.",
        ) from error
    if status == 404:
        raise NotFoundError(
            f"Could not {what}: it is not there",
            received=received,
            what_to_do="Correct the name; where nothing is found at all, correct the host and its path.",
        ) from error
    if status == 409:
        raise AlreadyExistsError(f"Could not {what}: it exists already", received=received) from error
    if status == 429 or status >= 500:
        raise NoAnswerError(f"Could not {what}", received=received, retry_after=_retry_after(error)) from error
    raise ConfigurationError(
        f"Could not {what}: Kubeflow Pipelines refuses it", received=received, what_to_do="Correct what it names."
    ) from error


def _message(error: ApiException) -> str:
    """The message in the body of an error: of the API, of the upload handler, or of a proxy in between."""
    body = (error.body or b"").decode(errors="replace") if isinstance(error.body, bytes) else str(error.body or "")
    try:
        content = json.loads(body)
    except ValueError:
        content = None
    if isinstance(content, dict):
        body = str(content.get("message") or content.get("error_message") or body)
    elif "<html" in body.lower():
        body = f"a page of HTML ({error.reason})"
    return " ".join((body or str(error.reason)).split())[:600]


def _retry_after(error: ApiException) -> float | None:
    """Seconds of the header Retry-After, at most a minute; None where it is not given in seconds."""
    text = (error.headers or {}).get("Retry-After", "")
    return min(float(text), 60.0) if text.isdigit() else None
