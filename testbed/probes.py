"""Whether a program of a test bed is ready. None of these raises for one that does not answer."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Callable
from pathlib import Path

from testbed.certificates import Pair

Probe = Callable[[], bool]

_SECONDS = 5.0


def answers(port: int, path: str = "/readyz") -> Probe:
    """Ready when it answers 200 on loopback."""
    return lambda: _is_ok(http.client.HTTPConnection("127.0.0.1", port, timeout=_SECONDS), path)


def answers_securely(port: int, path: str = "/healthz") -> Probe:
    """Ready when it answers 200 on loopback with a certificate that it made for itself."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return lambda: _is_ok(http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=_SECONDS), path)


def answers_to(client: Pair, authority: Path, port: int) -> Probe:
    """Ready when it answers 200 on loopback to a client with this certificate."""

    def is_ready() -> bool:
        try:
            context = ssl.create_default_context(cafile=str(authority))
            context.load_cert_chain(client.certificate, client.key)
        except OSError:  # somebody stops the bed, and the folder is gone
            return False
        return _is_ok(http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=_SECONDS), "/readyz")

    return is_ready


def _is_ok(connection: http.client.HTTPConnection, path: str) -> bool:
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
