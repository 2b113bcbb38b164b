"""The threads that watch for a wait: one for each kind and namespace, all telling one queue."""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.references import Reference, Selection
from stepworks.kube.waiting.watch import Change, Watch

_WAITING_CHANGES = 1000
"""How many changes wait to be looked at; what comes then stays with the API server."""
_PUT_SECONDS = 0.2
_END_SECONDS = 2.0


@dataclass(frozen=True)
class Notice:
    """What a watcher tells: a change, or the error that ended it.

    Attributes:
        selection: What the watcher watches.
        change: The change, or the error.
    """

    selection: Selection
    change: Change | Exception


class Watchers:
    """Watches objects from threads of its own, which end with the block.

    Args:
        cluster: Where.
        references: The objects.
    """

    def __init__(self, cluster: Cluster, references: Iterable[Reference]) -> None:
        self._notices: queue.Queue[Notice] = queue.Queue(_WAITING_CHANGES)
        self._closed = threading.Event()
        self._watches: dict[Selection, Watch] = {}
        self._threads: list[threading.Thread] = []
        for selection, names in _selections(references).items():
            # However long the API server is away: it is for the wait to say when the time is over.
            watch = Watch(cluster, selection, patience=math.inf)
            self._watches[selection] = watch
            arguments = (selection, watch, names)
            name = f"watch {selection.kind}"
            self._threads.append(threading.Thread(target=self._read, args=arguments, name=name, daemon=True))

    def take(self, seconds: float) -> Iterator[Notice]:
        """Take what was told up to now; if it is nothing, wait up to so many seconds for the first."""
        try:
            yield self._notices.get(timeout=seconds)
            # No more than there is now, so that a flood of changes does not keep a wait from its deadline.
            for _ in range(self._notices.qsize()):
                yield self._notices.get_nowait()
        except queue.Empty:
            return

    def troubles(self) -> list[tuple[Selection, Exception | None]]:
        """Why each watcher has nothing to tell at present; None while the API server answers."""
        return [(selection, watch.trouble) for selection, watch in self._watches.items()]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closed.set()
        for watch in self._watches.values():
            watch.close()
        for thread in self._threads:
            # One that is just connecting ends by its own timeout; nobody waits for that.
            thread.join(_END_SECONDS)

    def _read(self, selection: Selection, watch: Watch, names: frozenset[str]) -> None:
        try:
            for change in watch:
                if change.kind == "listed" or change.manifest["metadata"]["name"] in names:
                    self._put(Notice(selection, change))
        except Exception as error:  # noqa: BLE001  # whatever ends the watch is for the waiting thread to raise
            self._put(Notice(selection, error))

    def _put(self, notice: Notice) -> None:
        while not self._closed.is_set():
            try:
                self._notices.put(notice, timeout=_PUT_SECONDS)
            except queue.Full:
                continue
            return


def _selections(references: Iterable[Reference]) -> dict[Selection, frozenset[str]]:
    """What to watch, and which names of it count: a single object by its name, several of a kind by the kind."""
    grouped: dict[tuple[str, str, str], set[str]] = {}
    for each in references:
        grouped.setdefault((each.api_version, each.kind, each.namespace), set()).add(each.name)
    selections: dict[Selection, Any] = {}
    for (api_version, kind, namespace), names in grouped.items():
        fields = f"metadata.name={next(iter(names))}" if len(names) == 1 else ""
        selections[Selection(api_version, kind, fields=fields, namespace=namespace)] = frozenset(names)
    return selections
