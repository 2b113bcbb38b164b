"""An API server in the test's own process: it keeps objects, lists and watches them, and fails as it is told to."""

from __future__ import annotations

import copy
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from tests.http_server import serving
from tests.unit.kube.api_handler import Event, Fault, Handler, Manifest, forbidden


class ApiServer:
    """Objects of the namespace `team`.

    Attributes:
        objects: Each object by its resource and name.
        calls: Every request for an object, `create jobs train`, without those of discovery.
        queries: The query of every such request.
        headers: The headers of the last request.
        faults: What the next requests of a verb meet; those of `dry-run create` are apart from those of `create`.
        denied: What no request may do, as verb and resource: `("list", "events")`.
        tokens: The tokens that are taken; all of them if None.
        expired: The resourceVersion up to which watches are too old.
        expire_between_pages: Whether a list is too old already when its second page is asked for.
        expired_as_event: Whether an old watch is told by an event, and not by the answer's status.
        documents: The schemas of each group version.
        logs: What each container of a pod has written; that of before its restart is `before NAME`'s.
        open_watches: How many watches are being served.
    """

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Manifest] = {}
        self.calls: list[str] = []
        self.queries: list[dict[str, str]] = []
        self.headers: dict[str, str] = {}
        self.faults: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self.denied: set[tuple[str, str]] = set()
        self.tokens: set[str] | None = None
        self.expired = 0
        self.expired_as_event = False
        self.expire_between_pages = False
        self.documents: dict[str, Manifest] = {}
        self.logs: dict[tuple[str, str], str] = {}
        self.open_watches = 0
        self.port = 0
        self.changed = threading.Condition()
        self.history: list[Event] = []
        self.bookmarks = 0
        self.silences = 0
        self.ends: list[int] = []
        self.clean_end = False
        self.version = 0

    def fail(self, verb: str, *faults: Fault) -> None:
        """Let the next requests of a verb fail."""
        self.faults[verb].extend(faults)

    def forbid(self, verb: str, resource: str, *, group: str = "", times: int = 1) -> None:
        """Let requests fail for want of a permission."""
        self.fail(verb, *[forbidden(verb, resource, group)] * times)

    def put(self, manifest: Manifest, plural: str) -> Manifest:
        """Create or replace an object, as a controller would."""
        with self.changed:
            name = manifest["metadata"]["name"]
            before = self.objects.get((plural, name))
            self.version += 1
            after = copy.deepcopy(manifest)
            after["metadata"].setdefault("uid", before["metadata"]["uid"] if before else f"uid-{self.version}")
            after["metadata"]["resourceVersion"] = str(self.version)
            self.objects[plural, name] = after
            self._note(Event(self.version, plural, before, after))
            return after

    def remove(self, plural: str, name: str) -> Manifest:
        """Delete an object."""
        with self.changed:
            self.version += 1
            before = self.objects.pop((plural, name))
            before = {**before, "metadata": {**before["metadata"], "resourceVersion": str(self.version)}}
            self._note(Event(self.version, plural, before, None))
            return before

    def log_of(self, pod: str, query: dict[str, str]) -> str:
        """The last lines of a log, as a request asks for them."""
        container = ("before " if query.get("previous") else "") + query.get("container", "")
        lines = self.logs.get((pod, container), f"a line of {pod}\n").splitlines(keepends=True)
        return "".join(lines[-int(query["tailLines"]) :])

    def end_watches(self, *, cleanly: bool) -> None:
        """End every open watch: as the server does after timeoutSeconds, or by a connection that breaks."""
        with self.changed:
            self.ends.append(self.version)
            self.clean_end = cleanly
            self.changed.notify_all()

    def silence_watches(self) -> None:
        """Say nothing more on the open watches, as on a connection that died unnoticed."""
        with self.changed:
            self.silences += 1

    def bookmark(self) -> None:
        """Tell every open watch how far it is."""
        with self.changed:
            self.bookmarks += 1
            self.changed.notify_all()

    def expire(self, *, as_event: bool = False) -> None:
        """Forget the changes up to now."""
        with self.changed:
            self.version += 1
            self.expired, self.expired_as_event = self.version, as_event
            self.history.clear()

    def miss(self, change: Callable[[], object], *, as_event: bool = False) -> None:
        """Break every open watch, and forget a change before it can be told."""
        with self.changed:
            self.end_watches(cleanly=False)
            change()
            self.expire(as_event=as_event)

    def wait_for_watches(self, count: int) -> None:
        """Wait until so many watches are being served."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.open_watches == count, timeout=10), self.open_watches

    def kubeconfig(self, path: Path, token: str = "secret") -> Path:
        """Write a kubeconfig that names this server and the namespace `team`."""
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
            "users": [{"name": "test", "user": {"token": token}}],
            "contexts": [
                {"name": "test", "context": {"cluster": "test", "user": "test", "namespace": "team"}},
                {"name": "bare", "context": {"cluster": "test", "user": "test"}},
            ],
        }
        path.write_text(yaml.safe_dump(content))
        return path

    def _note(self, event: Event) -> None:
        self.history.append(event)
        self.changed.notify_all()


@contextmanager
def api_server() -> Iterator[ApiServer]:
    """Run the server on a free port of loopback."""
    state = ApiServer()
    handler = type("StatefulHandler", (Handler,), {"state": state})
    with serving(handler) as state.port:
        yield state
        state.end_watches(cleanly=False)
