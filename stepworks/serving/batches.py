"""Running requests together that have come while the model was busy: one run of the graph answers them all.

Nothing waits for a batch to fill: a request that meets an idle model runs at once, alone. So batching costs an idle
server no latency, and a busy one has batches as large as its load.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Feed = Mapping[str, Array]
LARGEST_BATCH = 64
"""In rows: larger batches answer hardly more a second, and take memory. A request with more rows runs alone."""


@dataclass(frozen=True)
class _Request:
    feed: Feed
    rows: int
    answer: asyncio.Future[Array]


class Batches:
    """Answers requests of one event loop by runs in a thread of its own, so that the loop goes on meanwhile.

    Args:
        run: Answers a feed: for each input an array, whose first axis is the rows; so is that of the answer.
        largest: How many rows run together at most.
    """

    def __init__(self, run: Callable[[Feed], Array], largest: int = LARGEST_BATCH) -> None:
        self._run = run
        self._largest = largest
        self._waiting: deque[_Request] = deque()
        self._working: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")

    async def answer(self, feed: Feed) -> Array:
        """The answer to a feed.

        Args:
            feed: For each input of the graph an array with as many rows as the others.

        Raises:
            Exception: Whatever `run` raises for this feed; that of another request reaches nobody else.
        """
        loop = asyncio.get_running_loop()
        request = _Request(feed, len(next(iter(feed.values()))), loop.create_future())
        self._waiting.append(request)
        if self._working is None:
            self._working = loop.create_task(self._work(loop))
        return await request.answer

    async def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            while self._waiting:
                batch = self._take()
                for request, answer in zip(
                    batch, await loop.run_in_executor(self._thread, self._answers, batch), strict=True
                ):
                    if request.answer.done():  # its client has gone
                        continue
                    if isinstance(answer, Exception):
                        request.answer.set_exception(answer)
                    else:
                        request.answer.set_result(answer)
        finally:
            self._working = None

    def _take(self) -> list[_Request]:
        """The requests that have waited longest, as many as run together."""
        first = self._waiting.popleft()
        batch, rows = [first], first.rows
        while self._waiting and rows + self._waiting[0].rows <= self._largest:
            batch.append(self._waiting.popleft())
            rows += batch[-1].rows
        return batch

    def _answers(self, batch: list[_Request]) -> Sequence[Array | Exception]:
        """An answer to each; where they cannot be answered together, each by a run of its own."""
        together = self._together(batch) if len(batch) > 1 else []
        return together or [self._alone(each) for each in batch]

    def _together(self, batch: list[_Request]) -> list[Array]:
        """The answers of one run; none where the graph refuses it, or answers with another number of rows."""
        ends = np.cumsum([each.rows for each in batch])
        try:
            answers = self._run({name: np.concatenate([each.feed[name] for each in batch]) for name in batch[0].feed})
        except Exception:  # noqa: BLE001  # the runtime raises many kinds; which request it is of shows in runs of each
            return []
        return np.split(answers, ends[:-1]) if len(answers) == ends[-1] else []

    def _alone(self, request: _Request) -> Array | Exception:
        try:
            return self._run(request.feed)
        except Exception as error:  # noqa: BLE001  # the server answers whoever asked
            return error
