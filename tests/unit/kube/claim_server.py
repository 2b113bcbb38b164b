"""An API server that knows PersistentVolumeClaims: it keeps them, and answers as Kubernetes does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from tests.http_server import serving

REASONS = {403: "Forbidden", 404: "NotFound", 409: "AlreadyExists"}


class ClaimServer:
    """Claims of one namespace, `team`.

    Attributes:
        claims: Each claim by its name.
        forbidden: The verbs that the caller's Role lacks.
        protected: Claims that the API server refuses to delete.
        vanishing: Claims that somebody else deletes between the list and the delete.
        calls: Every call, `create data`.
    """

    def __init__(self) -> None:
        self.claims: dict[str, dict[str, Any]] = {}
        self.forbidden: set[str] = set()
        self.protected: set[str] = set()
        self.vanishing: set[str] = set()
        self.calls: list[str] = []
        self.port = 0

    def answer(self, verb: str, name: str, body: dict[str, Any], selector: str) -> tuple[int, dict[str, Any]]:
        self.calls.append(f"{verb} {name or selector}")
        if verb in self.forbidden or (verb == "delete" and name in self.protected):
            return 403, self._status(403, f'persistentvolumeclaims is forbidden: User "runner" cannot {verb} resource')
        if verb == "create":
            return self._create(body)
        if verb == "list":
            key, _, value = selector.partition("=")
            found = [each for each in self.claims.values() if each["metadata"].get("labels", {}).get(key) == value]
            return 200, {"kind": "PersistentVolumeClaimList", "apiVersion": "v1", "metadata": {}, "items": found}
        if name in self.vanishing or name not in self.claims:
            return 404, self._status(404, f'persistentvolumeclaims "{name}" not found')
        return 200, self.claims.pop(name) if verb == "delete" else self.claims[name]

    def _create(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        name = body["metadata"]["name"]
        if name in self.claims:
            return 409, self._status(409, f'persistentvolumeclaims "{name}" already exists')
        self.claims[name] = body
        return 201, body

    @staticmethod
    def _status(code: int, message: str) -> dict[str, Any]:
        return {"kind": "Status", "status": "Failure", "message": message, "reason": REASONS[code], "code": code}

    def kubeconfig(self, path: Path) -> Path:
        """Write a kubeconfig that names this server and the namespace `team`."""
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
            "users": [{"name": "test", "user": {"token": "secret"}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": "team"}}],
        }
        path.write_text(yaml.safe_dump(content))
        return path


@contextmanager
def claim_server() -> Iterator[ClaimServer]:
    """Run the server on a free port of loopback."""
    state = ClaimServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self._serve("create")

        def do_GET(self) -> None:
            self._serve("get" if self._name() else "list")

        def do_DELETE(self) -> None:
            self._serve("delete")

        def _name(self) -> str:
            collection, _, name = urlsplit(self.path).path.partition("/persistentvolumeclaims")
            assert collection == "/api/v1/namespaces/team"
            return name.lstrip("/")

        def _serve(self, verb: str) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else {}
            selector = parse_qs(urlsplit(self.path).query).get("labelSelector", [""])[0]
            status, content = state.answer(verb, self._name(), body or {}, selector)
            text = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *arguments: object) -> None:
            pass

    with serving(Handler) as state.port:
        yield state
