"""How the API server of these tests answers a request."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from tests.unit.kube.api_server import ApiServer

Manifest = dict[str, Any]
VERBS = {"POST": "create", "PATCH": "patch", "DELETE": "delete"}
KINDS = {
    "v1": {
        "Pod": "pods",
        "Event": "events",
        "ConfigMap": "configmaps",
        "Secret": "secrets",
        "PersistentVolumeClaim": "persistentvolumeclaims",
    },
    "batch/v1": {"Job": "jobs"},
    "argoproj.io/v1alpha1": {"Workflow": "workflows"},
    "serving.kserve.io/v1beta1": {"InferenceService": "inferenceservices"},
}
REASONS = {401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "AlreadyExists", 410: "Expired"}


@dataclass(frozen=True)
class Fault:
    """What the next request of a verb meets.

    Attributes:
        status: The answer; 0 drops the connection without one.
        carried_out: Whether the request is carried out all the same.
        message: What the Status says.
        more: Further fields of the Status.
        headers: Further headers of the answer.
    """

    status: int = 0
    carried_out: bool = False
    message: str = "failed on purpose"
    more: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Event:
    """A change: the object before it and after it, None where there is none."""

    version: int
    plural: str
    before: Manifest | None
    after: Manifest | None


def status(code: int, message: str, **more: Any) -> Manifest:
    """A Status."""
    return {"kind": "Status", "status": "Failure", "message": message, "reason": REASONS.get(code), "code": code} | more


def forbidden(verb: str, resource: str, group: str = "") -> Fault:
    """The refusal of a request for want of a permission."""
    cannot = f'User "system:serviceaccount:team:runner" cannot {verb} resource "{resource}" in API group "{group}"'
    return Fault(403, message=f"{resource} is forbidden: {cannot}")


def selected(manifest: Manifest | None, query: dict[str, str]) -> bool:
    """Whether selectors of the form `key=value` choose an object."""
    if manifest is None:
        return False
    metadata = manifest["metadata"]
    key, _, value = query.get("labelSelector", "").partition("=")
    if key and (metadata.get("labels") or {}).get(key) != value:
        return False
    path, _, wanted = query.get("fieldSelector", "").partition("=")
    found: Any = manifest
    for part in path.split(".") if path else []:
        found = found[part]
    return not path or found == wanted


def merge(present: Any, change: Any) -> Any:
    """A JSON merge patch."""
    if not isinstance(change, dict):
        return change
    merged = dict(present) if isinstance(present, dict) else {}
    for key, value in change.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


class Handler(BaseHTTPRequestHandler):
    """Serves requests as Kubernetes does; `state` is the server's."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    state: ApiServer

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        self.query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        length = int(self.headers.get("Content-Length") or 0)
        self.body: Manifest = json.loads(self.rfile.read(length)) if length else {}
        self.state.headers = dict(self.headers)
        token = self.headers.get("authorization", "").partition(" ")[2]
        if self.state.tokens is not None and token not in self.state.tokens:
            self._answer(401, status(401, "Unauthorized"))
            return
        prefix, _, rest = parts.path.partition("/namespaces/team/")
        if not rest:
            self._discover(parts.path)
            return
        self.api_version = prefix.removeprefix("/apis/").removeprefix("/api/")
        self.plural, self.name, self.subresource = (*rest.split("/"), "", "")[:3]
        verb = VERBS.get(self.command) or ("get" if self.name else "list")
        verb = "watch" if "watch" in self.query else verb
        # Beside a body, a DELETE's query is not read.
        dry = "dryRun" in (self.body if self.command == "DELETE" else self.query)
        asked = f"dry-run {verb}" if dry else verb
        self.state.calls.append(f"{asked} {rest.replace('/', ' ')}")
        self.state.queries.append(self.query)
        faults = self.state.faults[asked]
        fault = faults.popleft() if faults else None
        resource = f"{self.plural}/{self.subresource}" if self.subresource else self.plural
        if (verb, resource) in self.state.denied:
            fault = forbidden(verb, resource)
        if fault and not fault.carried_out:
            self._fail(fault)
            return
        answer = getattr(self, f"_{verb}")()
        if fault:
            self._fail(fault)
        elif answer:
            self._answer(*answer)

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PATCH(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def _discover(self, path: str) -> None:
        if path.startswith("/openapi/v3"):
            document = self.state.documents.get(path.removeprefix("/openapi/v3").lstrip("/"))
            index = {"paths": {key: {} for key in self.state.documents}}
            self._answer(200, {"components": {"schemas": document}} if document else index)
            return
        if path == "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews":
            asked = self.body["spec"]["resourceAttributes"]
            denied = (asked["verb"], asked["resource"]) in self.state.denied
            self._answer(201, {**self.body, "status": {"allowed": not denied}})
            return
        if path == "/apis":
            groups = [{"versions": [{"groupVersion": version}]} for version in KINDS if "/" in version]
            self._answer(200, {"groups": groups})
            return
        kinds = KINDS.get(path.removeprefix("/apis/").removeprefix("/api/"))
        if kinds is None:
            self._answer(404, status(404, "the server could not find the requested resource"))
            return
        resources = [
            {"name": f"{plural}{tail}", "kind": kind, "namespaced": True}
            for kind, plural in kinds.items()
            for tail in ("", "/status")
        ]
        self._answer(200, {"resources": resources})

    def _found(self) -> Manifest | None:
        return self.state.objects.get((self.plural, self.name))

    def _absent(self) -> tuple[int, Manifest]:
        return 404, status(404, f'{self.plural} "{self.name}" not found', details={"kind": self.plural})

    def _get(self) -> tuple[int, Manifest | str]:
        found = self._found()
        if found and self.subresource == "log":
            return 200, self.state.log_of(self.name, self.query)
        return (200, found) if found else self._absent()

    def _create(self) -> tuple[int, Manifest]:
        if self.subresource:
            return 201, self.body
        self.name = self.body["metadata"]["name"]
        if self._found():
            return 409, status(409, f'{self.plural} "{self.name}" already exists')
        return 201, self.body if "dryRun" in self.query else self.state.put(self.body, self.plural)

    def _patch(self) -> tuple[int, Manifest]:
        found, applies = self._found(), "apply-patch" in self.headers["Content-Type"]
        if not found and not applies:
            return self._absent()
        wanted = self.body.get("metadata", {}).get("uid")
        if found and wanted and found["metadata"]["uid"] != wanted:
            return 409, status(409, "Precondition failed: UID in precondition", reason="Conflict")
        merged = merge(copy.deepcopy(found or {}), self.body)
        return 200, merged if "dryRun" in self.query else self.state.put(merged, self.plural)

    def _delete(self) -> tuple[int, Manifest]:
        found, wanted = self._found(), self.body.get("preconditions", {}).get("uid")
        if not found:
            return self._absent()
        if wanted and found["metadata"]["uid"] != wanted:
            return 409, status(409, "Precondition failed: UID in precondition", reason="Conflict")
        return 200, found if "dryRun" in self.body else self.state.remove(self.plural, self.name)

    def _list(self) -> tuple[int, Manifest]:
        with self.state.changed:
            version, _, start = self.query.get("continue", f"{self.state.version}:0").partition(":")
            if "continue" in self.query and self.state.expire_between_pages:
                return 410, status(410, "The provided continue parameter is too old")
            items = [each for (plural, _), each in self.state.objects.items() if plural == self.plural]
        items = [each for each in items if selected(each, self.query)]
        end = int(start) + (int(self.query.get("limit", 0)) or len(items))
        metadata = {"resourceVersion": version}
        if end < len(items):
            metadata["continue"] = f"{version}:{end}"
        bare = [{key: value for key, value in each.items() if key not in ("kind", "apiVersion")} for each in items]
        return 200, {"kind": "List", "metadata": metadata, "items": bare[int(start) : end]}

    def _watch(self) -> tuple[int, Manifest] | None:
        version, state = int(self.query["resourceVersion"]), self.state
        with state.changed:  # no change may come between being found young enough and being told of the next
            too_old = version < state.expired
            seen = len(state.ends), state.bookmarks, state.silences
            if not too_old:
                state.open_watches += 1
                state.changed.notify_all()
        if too_old:
            gone = status(410, f"too old resource version: {version}")
            if not state.expired_as_event:
                return 410, gone
            self._begin_stream()
            self._send_event("ERROR", gone)
            self._chunk(b"")
            return None
        try:
            self._begin_stream()
            self._stream(version, *seen)
        except OSError:  # the client closed it
            self.close_connection = True
        finally:
            with self.state.changed:
                self.state.open_watches -= 1
                self.state.changed.notify_all()
        return None

    def _begin_stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _stream(self, version: int, era: int, bookmarks: int, silences: int) -> None:
        state = self.state
        while True:
            with state.changed:
                ended, marked = len(state.ends) > era, bookmarks != state.bookmarks
                last = state.ends[era] if ended else state.version  # what came after its end is not for this watch
                fresh = [event for event in state.history if version < event.version <= last]
                idle = not (fresh or ended or marked)
                if idle or silences != state.silences:
                    state.changed.wait(timeout=0.05)
                    alive = self.server.socket.fileno() >= 0
                    if not alive or self._client_is_gone():
                        return
                    continue
                bookmarks, version = state.bookmarks, max([version, *(event.version for event in fresh)])
            for event in fresh:
                self._tell(event)
            if marked and self.query.get("allowWatchBookmarks"):
                self._send_event("BOOKMARK", {"metadata": {"resourceVersion": str(version)}})
            if ended:
                if state.clean_end:
                    self._chunk(b"")
                else:
                    self.close_connection = True
                return

    def _client_is_gone(self) -> bool:
        self.connection.setblocking(False)
        try:
            return self.connection.recv(1) == b""
        except BlockingIOError:
            return False
        finally:
            self.connection.setblocking(True)

    def _tell(self, event: Event) -> None:
        if event.plural != self.plural:
            return
        before, after = selected(event.before, self.query), selected(event.after, self.query)
        if after:
            self._send_event("MODIFIED" if before else "ADDED", event.after)
        elif before:
            assert event.before is not None
            gone = copy.deepcopy(event.after or event.before)
            self._send_event("DELETED", gone)

    def _send_event(self, kind: str, manifest: Manifest | None) -> None:
        self._chunk(json.dumps({"type": kind, "object": manifest}).encode() + b"\n")

    def _chunk(self, content: bytes) -> None:
        self.wfile.write(f"{len(content):x}\r\n".encode() + content + b"\r\n")

    def _fail(self, fault: Fault) -> None:
        if fault.status:
            self._answer(fault.status, status(fault.status, fault.message, **fault.more), **fault.headers)
        else:
            self.close_connection = True

    def _answer(self, code: int, content: Manifest | str, **headers: str) -> None:
        text = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *arguments: object) -> None:
        pass
