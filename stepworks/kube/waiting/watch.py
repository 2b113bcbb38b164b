"""What becomes of the selected objects, told as it happens and whatever happens to the connection."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import list_with_version
from stepworks.kube.api.references import Selection, locate
from stepworks.kube.api.requests import RETRY_SECONDS, Attempts, Request, open_response
from stepworks.kube.kinds.manifests import Manifest

WATCH_SECONDS = 30
"""How long the API server serves one watch before it is asked anew, and ..."""
GRACE_SECONDS = 5
"""... how much later than that a connection that still says nothing counts as dead."""
_BUFFER = 65536
_AT_ONCE = 1.0


@dataclass(frozen=True)
class Change:
    """What a watch tells.

    Attributes:
        kind: `present`: the object is there, as the manifest has it. `deleted`: it is no longer there; the manifest is
            its last state, or only its metadata if it went while the watch could not see it. `listed`: everything
            that is there has been told, what was not told is not there.
        manifest: The object; empty for `listed`.
    """

    kind: Literal["present", "deleted", "listed"]
    manifest: Manifest


class Watch:
    """The changes of the selected objects, from those that are there on, without an end.

    It begins with a list and goes on with watches, each from where the last one ended. If the API server no longer has
    what came since, it lists again, and tells what was deleted in between. Of the objects it keeps the names and uids
    only. One thread iterates; another may close it.

    Args:
        cluster: Where.
        selection: Which objects.
        patience: How long to try again, in seconds, while the API server fails or does not answer.

    Raises:
        AccessDeniedError: Listing or watching is not permitted.
        ClusterError: The API server failed for longer than the patience, or takes no credentials.
    """

    def __init__(self, cluster: Cluster, selection: Selection, *, patience: float = RETRY_SECONDS) -> None:
        self._cluster = cluster
        self._selection = selection
        self._address = locate(cluster, selection)
        self._operation = self._address.operation("watch", "get", "list", "watch")
        self._closed = threading.Event()
        self._attempts = Attempts(cluster, self._operation, patience, self._closed)
        self._response: Any = None
        self._version = ""
        self._known: dict[str, Manifest] = {}

    @property
    def trouble(self) -> Exception | None:
        """Why there are no changes at present; None while the API server answers."""
        return self._attempts.last_failure

    def close(self) -> None:
        """End the iteration, also while it waits for the server; for another thread to call."""
        self._closed.set()
        response = self._response
        if response is not None:
            with suppress(ValueError, RuntimeError, OSError):  # it has ended already
                response.shutdown()

    def __iter__(self) -> Iterator[Change]:
        """Tell the changes, until the watch is closed."""
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        while not self._closed.is_set():
            try:
                if not self._version:
                    yield from self._list()
                yield from self._stream()
            except (ApiException, HTTPError, ValueError, OSError) as error:
                if self._closed.is_set():
                    return
                too_old = getattr(error, "status", None) == 410
                if too_old:
                    self._version = ""
                self._attempts.failed(error, again=too_old)

    def _list(self) -> Iterator[Change]:
        manifests, self._version = list_with_version(self._cluster, self._selection, self._attempts)
        self._attempts.succeeded()
        present = {each["metadata"]["name"]: each["metadata"]["uid"] for each in manifests}
        for name, known in list(self._known.items()):
            if present.get(name) != known["metadata"]["uid"]:
                yield self._forgotten(known)
        for manifest in manifests:
            yield self._noted(manifest)
        yield Change("listed", {})

    def _stream(self) -> Iterator[Change]:
        """One watch, from the version at which the last one ended."""
        from urllib3.exceptions import ProtocolError

        query = [
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", self._version),
            ("timeoutSeconds", str(WATCH_SECONDS)),
            *self._selection.query,
        ]
        request = Request(self._operation, "GET", self._address.path(), query)
        began = self._cluster.clock.now()
        self._response = open_response(self._cluster, request, read_seconds=WATCH_SECONDS + GRACE_SECONDS)
        told = False
        try:
            if self._closed.is_set():  # by a thread that did not see the response yet
                return
            for line in self._lines():
                told = True
                yield from self._understood(json.loads(line))
        finally:
            self._response.close()
            self._response = None
        if not told and self._cluster.clock.now() - began < _AT_ONCE:
            raise ProtocolError("the API server ended the watch at once")

    def _lines(self) -> Iterator[bytes]:
        rest = b""
        # What has arrived at once, however it is sent: `stream` waits for a full buffer where a proxy sends no chunks.
        while chunk := self._response.read1(_BUFFER):
            if self._closed.is_set():
                return
            *lines, rest = (rest + chunk).split(b"\n")
            yield from (line for line in lines if line)

    def _understood(self, event: dict[str, Any]) -> Iterator[Change]:
        from kubernetes.client import ApiException

        kind, manifest = event["type"], event["object"]
        if kind == "ERROR":
            error = ApiException(status=manifest.get("code") or 500, reason=manifest.get("reason"))
            error.body = json.dumps(manifest)
            raise error
        self._attempts.succeeded()
        self._version = manifest["metadata"]["resourceVersion"]
        if kind == "DELETED":
            yield self._forgotten(manifest)
        elif kind != "BOOKMARK":
            yield self._noted(manifest)

    def _noted(self, manifest: Manifest) -> Change:
        metadata = manifest["metadata"]
        kept = {key: metadata[key] for key in ("name", "namespace", "uid") if key in metadata}
        kinds = {"apiVersion": self._selection.api_version, "kind": self._selection.kind}
        self._known[metadata["name"]] = {**kinds, "metadata": kept}
        return Change("present", manifest)

    def _forgotten(self, manifest: Manifest) -> Change:
        self._known.pop(manifest["metadata"]["name"], None)
        return Change("deleted", manifest)
