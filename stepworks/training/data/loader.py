"""Batches read ahead by threads, from any position on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType

import torch

from stepworks.errors import ConfigurationError, DataError, ResourceError, StepworksError
from stepworks.training.data.order import Order
from stepworks.training.data.samples import Inputs, Samples
from stepworks.training.machine import is_out_of_memory, refusal

_SECONDS_TO_END = 10.0
# Longer than any row group takes from any disk that still answers.
_SECONDS_TO_READ = 1800.0


@dataclass(frozen=True)
class Position:
    """The next batch to be trained on. Epochs count from 1, batches from 0 to `batches_per_epoch` - 1.

    It is all that a checkpoint keeps of the data: it is the same for every rank and every world size.
    """

    epoch: int
    batch: int


@dataclass(frozen=True)
class Batch:
    """One rank's share of a global batch.

    Attributes:
        inputs: The arguments of the model's `forward`, on the device.
        targets: The targets, on the device.
        indices: Which samples they are: int64 on the CPU.
        next: The position after this batch; a checkpoint keeps that of the last batch that an optimizer step has used.
            Its batch is 0 at the end of an epoch.
        waited: Seconds that the caller was held up, since the batch was not read yet.
    """

    inputs: Inputs
    targets: torch.Tensor
    indices: torch.Tensor
    next: Position
    waited: float


@dataclass(frozen=True)
class _Read:
    """A batch as a reader thread leaves it, and what tells when its copy to the device is done."""

    batch: Batch
    copied: torch.cuda.Event | None


class Loader:
    """Iterates over one rank's batches for ever, epoch after epoch. To be closed, or used as a context.

    Threads and not processes read: what decodes Parquet, images and tensors releases Python's lock, nothing has to be
    copied between processes, and a signal to the process group ends no reader before the checkpoint is written. At
    most `ahead` batches are in memory beside the one in use, whatever the size of the data.

    For a CUDA device the threads copy each batch through pinned memory on a stream of their own, so that the copy
    overlaps with the computation.

    Args:
        samples: What is read.
        order: The order of the samples; it must be of as many.
        rank: This process among those that share each batch.
        world: How many they are.
        device: Where the batches are to be.
        threads: How many batches are read at the same time.
        ahead: How many batches are read before they are asked for.
        start: The first batch; of a resumed run, the `next` that its checkpoint kept.

    Raises:
        ConfigurationError: The order is not of these samples, the start is not in it, or the batch cannot be shared
            out evenly.
    """

    def __init__(
        self,
        samples: Samples,
        order: Order,
        *,
        rank: int,
        world: int,
        device: torch.device,
        threads: int = 2,
        ahead: int = 4,
        start: Position = Position(1, 0),
    ) -> None:
        assert threads >= 1
        assert ahead >= 1
        _check(samples, order, start)
        order.indices(start.epoch, start.batch, rank, world)  # A world that does not divide is told here, not later.
        self._samples, self._order, self._rank, self._world = samples, order, rank, world
        self._device = device
        self._copy_stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._device = device if device.index is not None else torch.device("cuda", torch.cuda.current_device())
            self._copy_stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        self._ahead = ahead
        # Two conditions on one lock: a batch that is taken wakes one reader, and one that is read only who asks for it.
        # Threads that wake for nothing take Python's lock, and a core, from the training loop.
        lock = threading.Lock()
        self._room = threading.Condition(lock)
        self._read_one = threading.Condition(lock)
        # Batches have a number from 0 on, at `start`. These are guarded by the lock.
        self._next_to_read = 0
        self._next_to_give = 0
        self._done: dict[int, _Read | BaseException] = {}
        self._closed = False
        self._first = (start.epoch - 1) * order.batches_per_epoch + start.batch
        # Daemons, so that a read that never returns (a dead network disk) cannot keep the process from ending.
        self._threads = [
            threading.Thread(target=self._read, name=f"reader-{number}", daemon=True) for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        """The next batch.

        Raises:
            StepworksError: The samples could not be read; so does every later call.
        """
        started = time.perf_counter()
        with self._read_one:
            assert not self._closed
            if not self._read_one.wait_for(lambda: self._next_to_give in self._done, _SECONDS_TO_READ):
                raise self._no_answer()
            read = self._done[self._next_to_give]
            if isinstance(read, BaseException):
                raise self._error(read) from read
            del self._done[self._next_to_give]
            self._next_to_give += 1
            self._room.notify()
        batch = read.batch
        if read.copied is not None:
            # The computation waits on the device, and the memory is not given to another batch before it is through.
            stream = torch.cuda.current_stream(self._device)
            stream.wait_event(read.copied)
            for tensor in (*batch.inputs, batch.targets):
                tensor.record_stream(stream)
        waited = time.perf_counter() - started
        return Batch(batch.inputs, batch.targets, batch.indices, batch.next, waited)

    def __enter__(self) -> Loader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the reader threads, and drop what was read ahead. May be called twice."""
        with self._room:
            self._closed = True
            self._done.clear()
            self._room.notify_all()
        deadline = time.monotonic() + _SECONDS_TO_END
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _read(self) -> None:
        """What each reader thread does."""
        while True:
            with self._room:
                self._room.wait_for(lambda: self._closed or self._next_to_read < self._next_to_give + self._ahead)
                if self._closed:
                    return
                number = self._next_to_read
                self._next_to_read += 1
            read: _Read | BaseException
            try:
                read = self._batch(number)
            except BaseException as error:  # noqa: BLE001  # for the thread that asks for the batch to raise
                read = error
            with self._read_one:
                if not self._closed:
                    self._done[number] = read
                    self._read_one.notify()

    def _batch(self, number: int) -> _Read:
        per_epoch = self._order.batches_per_epoch
        epoch, batch = divmod(self._first + number, per_epoch)
        indices = self._order.indices(epoch + 1, batch, self._rank, self._world)
        inputs, targets = self._samples.take(indices)
        following, first_left = divmod(self._first + number + 1, per_epoch)
        position = Position(following + 1, first_left)
        if self._copy_stream is None:
            moved = tuple(tensor.to(self._device) for tensor in inputs)
            return _Read(Batch(moved, targets.to(self._device), indices, position, 0.0), None)
        with torch.cuda.device(self._device), torch.cuda.stream(self._copy_stream):
            moved = tuple(self._to_gpu(tensor) for tensor in inputs)
            targets = self._to_gpu(targets)
            copied = self._copy_stream.record_event()
        return _Read(Batch(moved, targets, indices, position, 0.0), copied)

    def _to_gpu(self, tensor: torch.Tensor) -> torch.Tensor:
        # The allocator of pinned memory gives it out again only when the copy is done.
        return tensor.pin_memory().to(self._device, non_blocking=True)

    def _no_answer(self) -> ResourceError:
        epoch, batch = divmod(self._first + self._next_to_give, self._order.batches_per_epoch)
        return ResourceError(
            f"Batch {batch} of epoch {epoch + 1} is not read",
            received=f"no answer in {_SECONDS_TO_READ:g} seconds",
            expected="samples from a disk that answers",
            what_to_do="Look whether the disk of the data can be reached from this node, and train again.",
        )

    def _error(self, cause: BaseException) -> BaseException:
        if isinstance(cause, StepworksError) or is_out_of_memory(cause):
            return cause
        refused = refusal(cause)
        if refused is not None:
            return refused
        epoch, batch = divmod(self._first + self._next_to_give, self._order.batches_per_epoch)
        return DataError(
            f"The samples of batch {batch} of epoch {epoch + 1} cannot be read",
            received=f"{type(cause).__name__}: {cause}",
            expected="take(indices) of the data builder's samples returns a tuple of inputs, and targets",
            what_to_do="Correct the data, or the data builder.",
        )


def _check(samples: Samples, order: Order, start: Position) -> None:
    if len(samples) != order.samples:
        raise ConfigurationError(
            "The order is not of these samples",
            received=f"{len(samples)} samples, an order of {order.samples}",
            expected="as many",
            what_to_do="Make the order from the length of the samples.",
        )
    if start.epoch < 1 or not 0 <= start.batch < order.batches_per_epoch:
        raise ConfigurationError(
            "Training cannot start at this position of the data",
            received=f"epoch {start.epoch}, batch {start.batch}",
            expected=f"an epoch from 1, a batch from 0 to {order.batches_per_epoch - 1}",
            what_to_do="Resume with the data and the batch that the position was reached with.",
        )
