"""The supervisor's control endpoint: JSON over HTTP on loopback, behind a random token.

`GET /<token>/processes`, `GET /<token>/claims`, `GET /<token>/free-port`, `POST /<token>/start` and
`POST /<token>/stop`. An answer other than 200 holds a `StepworksError` as data, which the client raises again.
"""

from __future__ import annotations

import hmac
import json
import secrets
import socketserver
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepworks import errors
from stepworks.errors import NotFoundError, RunError, StepworksError
from stepworks.supervisor.processes import ManagedProcess

if TYPE_CHECKING:
    from stepworks.supervisor.supervisor import Supervisor

_ERROR_FIELDS = ("problem", "received", "expected", "what_to_do")


class ControlEndpoint:
    """Serves a supervisor to other processes from a daemon thread."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._token = secrets.token_urlsafe(24)
        self._server = _Server(supervisor, self._token)
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> str:
        """The endpoint's address, the token included."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/{self._token}"

    def open(self) -> None:
        """Start to answer."""
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop to answer; requests that are under way are not waited for."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._thread = None
        self._server.server_close()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, supervisor: Supervisor, token: str) -> None:
        self.supervisor = supervisor
        self.token = token
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        """Answer a question."""
        self._answer({})

    def do_POST(self) -> None:
        """Carry out an order."""
        length = int(self.headers.get("Content-Length") or 0)
        self._answer(json.loads(self.rfile.read(length) or b"{}"))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Keep the terminal of the run clean."""

    def _answer(self, body: dict[str, Any]) -> None:
        token, _, action = self.path.strip("/").partition("/")
        if not hmac.compare_digest(token.encode(), self.server.token.encode()):
            self._send(403, error_to_json(RunError("This is not the token of this supervisor")))
            return
        try:
            self._send(200, _carry_out(self.server.supervisor, f"{self.command} {action}", body))
        except StepworksError as error:
            self._send(409, error_to_json(error))

    def _send(self, status: int, content: dict[str, Any]) -> None:
        payload = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)


def _carry_out(supervisor: Supervisor, action: str, body: dict[str, Any]) -> dict[str, Any]:
    match action:
        case "GET processes":
            return {name: process_to_json(process) for name, process in supervisor.processes().items()}
        case "GET claims":
            return {mount: str(folder) for mount, folder in supervisor.claims().items()}
        case "GET free-port":
            return {"port": supervisor.free_port()}
        case "POST start":
            name, command = body.pop("name"), body.pop("command")
            return process_to_json(supervisor.start(name, command, **body))
        case "POST stop":
            supervisor.stop(body["name"])
            return {}
    raise NotFoundError("The supervisor does not know this request", received=action)


def process_to_json(process: ManagedProcess) -> dict[str, Any]:
    """The process as JSON."""
    return {**vars(process), "command": list(process.command), "log": str(process.log)}


def process_from_json(content: dict[str, Any]) -> ManagedProcess:
    """The process that `process_to_json` wrote."""
    return ManagedProcess(**{**content, "command": tuple(content["command"]), "log": Path(content["log"])})


def error_to_json(error: StepworksError) -> dict[str, Any]:
    """The error as JSON."""
    return {"type": type(error).__name__, **{field: getattr(error, field) for field in _ERROR_FIELDS}}


def error_from_json(content: dict[str, Any]) -> StepworksError:
    """The error that `error_to_json` wrote, of its own class."""
    kind: type[StepworksError] = getattr(errors, content["type"])
    problem, *details = (content[field] for field in _ERROR_FIELDS)
    return kind(problem, **dict(zip(_ERROR_FIELDS[1:], details, strict=True)))
