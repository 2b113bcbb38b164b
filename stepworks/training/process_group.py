"""The processes of one training run: who they are, and how they speak to each other."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from stepworks.errors import ConfigurationError
from stepworks.training.outcome import tells_of_lost_peer

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Processes:
    """The processes of a run, seen from one of them.

    Attributes:
        rank: This process among all, from 0.
        local_rank: This process among those of its node, from 0.
        world: How many there are.
        device: What this process computes on.
        control: A gloo group for what is agreed on beside the computation; None for one process.
        checkpoints: Another one, for the thread that writes checkpoints.
    """

    rank: int = 0
    local_rank: int = 0
    world: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    control: dist.ProcessGroup | None = None
    checkpoints: dist.ProcessGroup | None = None

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        """The mean of a tensor over all processes, on the device; it is not waited for on CUDA."""
        if self.world == 1:
            return value
        total = value.clone()
        dist.all_reduce(total)
        return total / self.world

    def sum(self, value: torch.Tensor) -> torch.Tensor:
        """The sum of a tensor over all processes."""
        if self.world == 1:
            return value
        total = value.clone()
        dist.all_reduce(total)
        return total

    def from_rank_0(self, value: _Value) -> _Value:
        """The value that rank 0 has; it is pickled."""
        if self.control is None:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0, group=self.control)
        return values[0]

    def gather(self, value: torch.Tensor) -> list[torch.Tensor] | None:
        """The tensors of all processes on rank 0, in the order of the ranks, on the CPU; their lengths may differ."""
        if self.control is None:
            return [value.cpu()]
        values: list[Any] | None = [None] * self.world if self.rank == 0 else None
        dist.gather_object(value.cpu(), values, dst=0, group=self.control)
        return values

    def barrier(self) -> None:
        """Wait until every process is here."""
        if self.control is not None:
            dist.barrier(self.control)


class Agreement:
    """The greatest of each of some numbers over all processes, one step late and without waiting for it.

    `exchange` starts a reduction and gives the result of the one before, which had a whole step to end. All processes
    get the same numbers at the same step, and so decide alike. One process agrees with itself at once.
    """

    def __init__(self, processes: Processes) -> None:
        self._group = processes.control
        self._under_way: tuple[torch.Tensor, dist.Work | None] | None = None

    def exchange(self, values: Sequence[float]) -> list[float] | None:
        """Say what this process has; get what all had at the call before, or None at the first."""
        sent = torch.tensor(values, dtype=torch.float64)
        if self._group is None:
            return [float(value) for value in values]
        result = self.result()
        self._under_way = (sent, dist.all_reduce(sent, dist.ReduceOp.MAX, group=self._group, async_op=True))
        return result

    def result(self) -> list[float] | None:
        """What all had at the last call, waited for; None if there was none."""
        if self._under_way is None:
            return None
        values, work = self._under_way
        self._under_way = None
        if work is not None:
            work.wait()
        return [float(value) for value in values]


@contextlib.contextmanager
def join(device: str = "auto", *, timeout_seconds: float = 600) -> Iterator[Processes]:
    """Take this process's place among those that torchrun started; alone, where it started none.

    Args:
        device: `cpu`, `cuda`, or `auto` for a GPU when there is one.
        timeout_seconds: How long to wait for the others, in each exchange, before they count as lost.

    Raises:
        ConfigurationError: `cuda` is asked for and there is none, or there are fewer GPUs than processes on a node.
    """
    rank, local_rank, world = (
        int(os.environ.get(name, default)) for name, default in (("RANK", 0), ("LOCAL_RANK", 0), ("WORLD_SIZE", 1))
    )
    own = _device(device, local_rank)
    if own.type == "cuda":
        torch.cuda.set_device(own)
    if world == 1:
        yield Processes(device=own)
        return
    timeout = timedelta(seconds=timeout_seconds)
    dist.init_process_group(
        "nccl" if own.type == "cuda" else "gloo", timeout=timeout, device_id=own if own.type == "cuda" else None
    )
    yield Processes(
        rank=rank,
        local_rank=local_rank,
        world=world,
        device=own,
        control=_gloo_group(timeout),
        checkpoints=_gloo_group(timeout),
    )
    # Not after an exception: another process may be gone, and NCCL would wait for it.
    dist.destroy_process_group()


def is_lost_peer(error: BaseException) -> bool:
    """Whether an error only says that another process is gone; the cause is that one's."""
    if isinstance(error, dist.DistError):
        return True
    return isinstance(error, RuntimeError) and tells_of_lost_peer(str(error))


def _gloo_group(timeout: timedelta) -> dist.ProcessGroup:
    group = dist.new_group(backend="gloo", timeout=timeout)
    assert isinstance(group, dist.ProcessGroup)  # a process outside of the group would get a number
    return group


def _device(name: str, local_rank: int) -> torch.device:
    found = torch.cuda.device_count() if name != "cpu" else 0
    if name == "cuda" and not found:
        raise ConfigurationError(
            "Training is to run on CUDA, and there is no CUDA device",
            received="device: cuda",
            expected="a GPU in the step's pod",
            what_to_do="Give the step a GPU placement, or set device to cpu or auto.",
        )
    if not found:
        return torch.device("cpu")
    if local_rank >= found:
        raise ConfigurationError(
            "There are more processes than GPUs on a node",
            received=f"the process with the local rank {local_rank}, {found} GPUs",
            expected="at most one process a GPU",
            what_to_do="Start fewer processes, or give the placement more GPUs.",
        )
    return torch.device("cuda", local_rank)
