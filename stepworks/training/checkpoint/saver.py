"""Writing checkpoints while training goes on.

A save copies the state to memory of the CPU, which is kept and used again, and returns. A thread of each process then
writes its part; when all are done, rank 0 commits. What goes wrong there is told by the next call.
"""

from __future__ import annotations

import json
import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions
from torch.distributed.checkpoint.state_dict_saver import save

from stepworks.errors import ResourceError
from stepworks.training.checkpoint.manifest import FileRecord, record_file
from stepworks.training.checkpoint.state import STATE_FILE, Tensors, quiet, random_file
from stepworks.training.checkpoint.store import CheckpointStore, not_writable, write_synced

_KEPT_DURATIONS = 20

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Snapshot:
    """What is to be written.

    Attributes:
        step: The optimizer steps that were taken.
        tensors: Weights and optimizer state; each process gives its part.
        state: What is the same in every process, as JSON can hold it; rank 0 writes it.
        random: The state of this process's generators.
        monitored: The monitored figure, where this step was validated.
        best_step: The step whose checkpoint is the best so far, this one included; None before the first validation.
    """

    step: int
    tensors: Tensors
    state: dict[str, Any]
    random: dict[str, Any]
    monitored: float | None = None
    best_step: int | None = None


@dataclass
class Saver:
    """Writes the checkpoints of a run; every process of the group has one, and calls it alike. To be used as a context.

    Attributes:
        store: Where to; rank 0's decides.
        group: A gloo group of its own, since a thread uses it; None for one process.
        asynchronous: Whether `save` returns once the state is copied, or only when it is committed.
        committed_step: The step of the last checkpoint that is committed; None before the first.
        durations: How long the last saves took from their start to their commit, in seconds.
    """

    store: CheckpointStore
    group: dist.ProcessGroup | None = None
    asynchronous: bool = True
    committed_step: int | None = None
    durations: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._blocked_seconds = 0.0
        cuda = torch.cuda.is_available()
        self._stager = DefaultStager(
            StagingOptions(
                use_pinned_memory=cuda, use_shared_memory=False, use_async_staging=False, use_non_blocking_copy=cuda
            )
        )
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._under_way: Future[int] | None = None

    @property
    def rank(self) -> int:
        """This process's rank in the group."""
        return dist.get_rank(self.group) if self.group is not None else 0

    @property
    def busy(self) -> bool:
        """Whether a checkpoint is still being written."""
        return self._under_way is not None and not self._under_way.done()

    @property
    def failed(self) -> bool:
        """Whether the last write failed; `wait` raises its error."""
        return self._under_way is not None and self._under_way.done() and self._under_way.exception() is not None

    def save(self, snapshot: Snapshot) -> None:
        """Write a checkpoint. An earlier one that is still being written is waited for.

        Raises:
            ResourceError: This or the one before could not be written; what was committed is intact.
        """
        called = time.monotonic()
        self.wait()
        started = time.monotonic()
        # Staged also where it is waited for: there is one way through here, and one form of what is written.
        tensors = self._stager.stage(snapshot.tensors)
        assert isinstance(tensors, dict)
        self._under_way = self._thread.submit(self._write, snapshot, tensors, started)
        if not self.asynchronous:
            self.wait()
        self._blocked_seconds += time.monotonic() - called

    def take_blocked_seconds(self) -> float:
        """How long `save` has held the caller up since this was asked last."""
        seconds, self._blocked_seconds = self._blocked_seconds, 0.0
        return seconds

    def wait(self, timeout: float | None = None) -> None:
        """Wait until nothing is being written.

        Raises:
            ResourceError: The last checkpoint could not be written.
            TimeoutError: It is still being written after `timeout` seconds.
        """
        if self._under_way is None:
            return
        self.committed_step = self._under_way.result(timeout)
        self._under_way = None

    def __enter__(self) -> Saver:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # After an error another process may be gone, and what is being written may wait for it; this one ends as well.
        if kind is None or self.group is None:
            self._thread.shutdown(wait=True)
            self._stager.close()

    def _write(self, snapshot: Snapshot, tensors: Tensors, started: float) -> int:
        writing: Path | None = None
        try:
            writing = self._begin(snapshot.step)
            files = self._write_part(writing, snapshot, tensors)
            self._commit(writing, snapshot, files)
        except BaseException:
            if writing is not None and self.rank == 0:
                self.store.discard(writing)
            raise
        self.durations = [*self.durations[1 - _KEPT_DURATIONS :], time.monotonic() - started]
        return snapshot.step

    def _begin(self, step: int) -> Path:
        """Have rank 0 make the folder; every process learns its name or why there is none."""
        answer: Path | Exception | None = None
        if self.rank == 0:
            try:
                answer = self.store.begin(step)
            except ResourceError as error:
                answer = error
        answer = self._from_rank_0(answer)
        if isinstance(answer, Exception):
            raise answer
        assert answer is not None
        return answer

    def _write_part(self, writing: Path, snapshot: Snapshot, tensors: Tensors) -> dict[str, FileRecord]:
        """Write this process's files, and return all files of all processes; raise alike in each if one could not."""
        answer: dict[str, FileRecord] | Exception
        try:
            with quiet():
                save(
                    tensors,
                    storage_writer=FileSystemWriter(writing),
                    process_group=self.group,
                    no_dist=self.group is None,
                )
            names = [random_file(self.rank)]
            write_synced(writing / names[0], json.dumps(snapshot.random).encode())
            if self.rank == 0:
                names += [".metadata", STATE_FILE]
                write_synced(writing / STATE_FILE, json.dumps(snapshot.state, indent=1).encode())
            names += [path.name for path in writing.glob(f"__{self.rank}_*")]
            answer = {name: record_file(writing / name) for name in names}
        except (Exception, CheckpointException) as error:  # noqa: BLE001 - told to the others, which wait for it
            answer = not_writable(self.store.folder, _cause(error))
        parts: list[Any] = [answer]
        if self.group is not None:
            parts = [None] * dist.get_world_size(self.group)
            dist.all_gather_object(parts, answer, group=self.group)
        files: dict[str, FileRecord] = {}
        for part in parts:
            if isinstance(part, Exception):
                raise part
            files |= part
        return files

    def _commit(self, writing: Path, snapshot: Snapshot, files: dict[str, FileRecord]) -> None:
        answer: Exception | None = None
        if self.rank == 0:
            try:
                self.store.commit(
                    writing, snapshot.step, files, monitored=snapshot.monitored, best_step=snapshot.best_step
                )
            except ResourceError as error:
                answer = error
        answer = self._from_rank_0(answer)
        if answer is not None:
            raise answer

    def _from_rank_0(self, answer: Any) -> Any:
        if self.group is None:
            return answer
        answers = [answer]
        dist.broadcast_object_list(answers, src=dist.get_global_rank(self.group, 0), group=self.group)
        return answers[0]


def _cause(error: BaseException) -> BaseException:
    """What went wrong on the first process where something did; DCP's exception holds all."""
    return next(iter(error.failures.values()))[0] if isinstance(error, CheckpointException) else error
