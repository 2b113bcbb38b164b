"""A proxy before the API server that fails as networks and overloaded servers do."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from testbed.bed import Bed

_REVIEWS = "selfsubjectaccessreviews"
LOST = 0
"""The fault of an answer that is lost on its way."""


class Proxy(ThreadingHTTPServer):
    """Passes requests on, but for the faults that it was told.

    Attributes:
        failures: By method, what the next requests are answered instead: a status code, or LOST for one that reaches
            the API server and whose answer is lost. Questions for permissions, which are no changes, are passed on.
        passed: The requests that reached the API server, as method and path.
        watches_begun: How many watches there have been.
    """

    daemon_threads = True

    def __init__(self, bed: Bed) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.failures: defaultdict[str, deque[int]] = defaultdict(deque)
        self.passed: list[tuple[str, str]] = []
        self.watches_begun = 0
        self._bed = bed
        self._streams: set[http.client.HTTPConnection] = set()
        self._lock = threading.Lock()

    def connect(self) -> http.client.HTTPSConnection:
        """A new connection to the API server, as the cluster's administrator."""
        certificates = self._bed.folder / "certificates"
        context = ssl.create_default_context(cafile=str(certificates / "ca.crt"))
        context.load_cert_chain(certificates / "admin.crt", certificates / "admin.key")
        return http.client.HTTPSConnection("127.0.0.1", urlsplit(self._bed.server).port, context=context)

    def count_watches(self) -> int:
        """How many watches are open."""
        with self._lock:
            return len(self._streams)

    def cut_watches(self) -> int:
        """Cut every open watch as a lost network does; says how many there were."""
        with self._lock:
            streams = list(self._streams)
        for connection in streams:
            if connection.sock:
                connection.sock.shutdown(2)
        return len(streams)

    @contextmanager
    def streaming(self, connection: http.client.HTTPConnection) -> Iterator[None]:
        """Count a watch as open."""
        with self._lock:
            self._streams.add(connection)
            self.watches_begun += 1
        try:
            yield
        finally:
            with self._lock:
                self._streams.discard(connection)

    def faults_left(self) -> int:
        """How many faults have met no request yet."""
        return sum(map(len, self.failures.values()))

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client or a server that is gone is what this is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        failures = self.server.failures[self.command]
        fault = failures.popleft() if failures and _REVIEWS not in self.path else None
        if fault:
            self._fail(fault)
            return
        self.server.passed.append((self.command, self.path))
        connection = self.server.connect()
        headers = {name: value for name, value in self.headers.items() if name.lower() not in {"host", "connection"}}
        try:
            connection.request(self.command, self.path, body or None, headers)
            response = connection.getresponse()
            if fault == LOST:
                response.read()
                self.close_connection = True
            elif "watch=" in self.path:
                with self.server.streaming(connection):
                    self._stream(response)
            else:
                self._answer(response.status, response.read(), response.getheader("Content-Type") or "")
        finally:
            connection.close()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass_on  # noqa: N815

    def _fail(self, status: int) -> None:
        told = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "message": "as the test asked",
            "code": status,
        }
        self._answer(status, json.dumps(told).encode(), "application/json", retry_after=status == 429)

    def _answer(self, status: int, body: bytes, content_type: str, *, retry_after: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        if retry_after:
            self.send_header("Retry-After", "1")
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, response: http.client.HTTPResponse) -> None:
        self.close_connection = True
        self.send_response(response.status)
        self.send_header("Content-Type", response.getheader("Content-Type") or "")
        self.send_header("Connection", "close")
        self.end_headers()
        while chunk := response.read1(65536):
            self.wfile.write(chunk)
            self.wfile.flush()


@contextmanager
def proxy_before(bed: Bed, folder: Path) -> Iterator[tuple[Proxy, Path]]:
    """Run a proxy before a bed's API server; gives it, and a kubeconfig that leads to it."""
    proxy = Proxy(bed)
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    kubeconfig = yaml.safe_load(bed.kubeconfig.read_text())
    kubeconfig["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{proxy.server_port}"}
    kubeconfig["users"][0]["user"] = {}
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(kubeconfig))
    try:
        yield proxy, path
    finally:
        proxy.shutdown()
        proxy.server_close()
