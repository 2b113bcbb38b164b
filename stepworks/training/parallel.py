"""One optimizer step, whatever the strategy: the model replicated, sharded, or alone.

Loss and model are one module, `Objective`. So a strategy that acts around `forward` (DDP, FSDP2, torch.compile,
autocast) covers the loss, too, and a loss may use the model's weights.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from stepworks.errors import ConfigurationError, TrainingError
from stepworks.training.data.samples import Inputs
from stepworks.training.process_group import Processes
from stepworks.training.spec import LoopSettings, ParallelSettings

_AUTOCAST = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class Objective(nn.Module):
    """A model and its loss as one module: the loss in training, the loss and the outputs in evaluation.

    Args:
        model: Its `loss(outputs, targets)` gives a scalar.
        device: Where it computes.
        autocast: The type to compute in; None for that of the weights.
    """

    def __init__(self, model: nn.Module, device: torch.device, autocast: torch.dtype | None) -> None:
        super().__init__()
        self.model = model
        self._device_type = device.type
        self._autocast = autocast

    def forward(self, inputs: Inputs, targets: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, Any]:
        """The loss of a batch, a scalar; in evaluation with the model's outputs."""
        with torch.autocast(self._device_type, self._autocast, enabled=self._autocast is not None):
            outputs = self.model(*inputs)
            loss = self.model.loss(outputs, targets)  # type: ignore[operator]  # a method, not a submodule
        if not isinstance(loss, torch.Tensor) or loss.ndim:
            raise TrainingError(
                "The model's loss is not a scalar",
                received=f"a tensor of shape {tuple(loss.shape)}" if hasattr(loss, "shape") else type(loss).__name__,
                expected="one number",
                what_to_do="Reduce the loss with mean() in the model's loss method.",
            )
        # Only where they are used: kept outputs are memory, and the compiler must write them out.
        return loss if self.training else (loss, outputs)


class Engine:
    """A model, its optimizer and its schedule, on the devices of all processes.

    Args:
        model: Whole, and the same in each process.
        loop: What the loop does.
        parallel: How it is spread.
        processes: The processes.
        total_steps: The optimizer steps of the whole run, for the schedule.
    """

    def __init__(
        self,
        model: nn.Module,
        loop: LoopSettings,
        parallel: ParallelSettings,
        processes: Processes,
        total_steps: int,
    ) -> None:
        self.processes = processes
        self.strategy = _strategy(parallel, processes)
        self.model = model.to(processes.device)
        self._accumulation = loop.accumulation
        self._is_training: bool | None = None
        self._clip_norm = loop.clip_norm
        self.objective = Objective(self.model, processes.device, _AUTOCAST[parallel.precision])
        self._spread(parallel)
        self.parameters = [parameter for parameter in self.objective.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=loop.learning_rate,
            weight_decay=loop.weight_decay,
            fused=processes.device.type == "cuda" or None,
        )
        self.schedule = _schedule(self.optimizer, loop, total_steps)
        self.scaler = torch.amp.GradScaler(processes.device.type, enabled=parallel.precision == "fp16")

    def _spread(self, parallel: ParallelSettings) -> None:
        """Compile, replicate or shard; what is called in training is `_replica`."""
        self._replica: nn.Module = self.objective
        if parallel.compile:
            # Blocks, where processes speak to each other in between: a graph of the whole would wait for its end.
            for unit in [self.objective] if self.strategy == "none" else _blocks(self.model) or [self.model]:
                unit.compile(dynamic=False)
        if self.strategy == "ddp":
            device = self.processes.device
            self._replica = DistributedDataParallel(
                self.objective, device_ids=[device] if device.type == "cuda" else None, gradient_as_bucket_view=True
            )
        if self.strategy == "fsdp":
            autocast = _AUTOCAST[parallel.precision]
            # The inputs stay as they are, and autocast casts what needs it: targets are no activations.
            policy = MixedPrecisionPolicy(autocast, torch.float32 if autocast else None, cast_forward_inputs=False)
            for unit in [*_blocks(self.model), self.objective]:
                fully_shard(unit, mp_policy=policy)

    def warm_up(self, inputs: Inputs, targets: torch.Tensor) -> None:
        """Have DDP group its gradients as it will from its second backward pass on; nothing else is changed by it.

        The groups decide the order in which numbers are summed up. Without this, the first step of a resumed run would
        sum in another order than the same step of a run that was not ended.
        """
        device = self.processes.device
        buffers = [buffer.clone() for buffer in self.objective.buffers()]
        self._set_training(True)
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            inputs = tuple(tensor.to(device) for tensor in inputs)
            self._replica(inputs, targets.to(device)).backward()
        self.optimizer.zero_grad(set_to_none=True)
        for buffer, before in zip(self.objective.buffers(), buffers, strict=True):
            buffer.copy_(before)

    def _set_training(self, mode: bool) -> None:
        """Put all modules into a mode; only where it changes, since it walks through all of them."""
        if self._is_training is not mode:
            self.objective.train(mode)
            self._is_training = mode

    def accumulate(self, inputs: Inputs, targets: torch.Tensor) -> torch.Tensor:
        """Compute the gradient of this process's share of a batch.

        Returns:
            The mean loss of the whole batch, of all processes, a scalar on the device.
        """
        self._set_training(True)
        parts = list(_split(inputs, targets, self._accumulation))
        total = torch.zeros((), device=self.processes.device)
        for number, (part_inputs, part_targets) in enumerate(parts):
            weight = len(part_targets) / len(targets)
            with self._synchronized(last=number == len(parts) - 1):
                loss = self._replica(part_inputs, part_targets) * weight
                self.scaler.scale(loss).backward()
            total += loss.detach().float()
        return self.processes.mean(total)

    @contextlib.contextmanager
    def _synchronized(self, *, last: bool) -> Iterator[None]:
        """Have the processes exchange gradients with the last part of a batch only."""
        if isinstance(self._replica, DistributedDataParallel) and not last:
            with self._replica.no_sync():
                yield
            return
        if isinstance(self.objective, FSDPModule):
            self.objective.set_requires_gradient_sync(last)
        yield

    def clip(self) -> torch.Tensor:
        """Scale the gradient down to the greatest norm.

        Returns:
            Its norm before, of all processes, a scalar on the device; not finite if the gradient is not.
        """
        self.scaler.unscale_(self.optimizer)
        limit = float("inf") if self._clip_norm is None else self._clip_norm
        norm = nn.utils.clip_grad_norm_(self.parameters, limit)
        return norm.full_tensor() if isinstance(norm, DTensor) else norm

    def update(self) -> None:
        """Take the optimizer step, and let the gradient go."""
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.schedule.step()
        self.optimizer.zero_grad(set_to_none=True)

    def evaluate(self, inputs: Inputs, targets: torch.Tensor) -> tuple[torch.Tensor, Any]:
        """The loss and the outputs of a batch in evaluation; sharded, each process must call it as often."""
        self._set_training(False)
        return cast("tuple[torch.Tensor, Any]", self.objective(inputs, targets))

    def whole_weights(self) -> dict[str, torch.Tensor]:
        """The model's weights and buffers on the CPU of rank 0, by name; empty on the others, which must call it."""
        weights = get_model_state_dict(self.model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
        return cast("dict[str, torch.Tensor]", weights) if self.processes.rank == 0 else {}


def _strategy(parallel: ParallelSettings, processes: Processes) -> str:
    if parallel.strategy == "auto":
        return "none" if processes.world == 1 else "ddp"
    if (parallel.strategy == "none") != (processes.world == 1):
        raise ConfigurationError(
            "The strategy does not fit the number of processes",
            received=f"strategy {parallel.strategy}, {processes.world} process{'es' * (processes.world > 1)}",
            expected="none for one process; ddp or fsdp for more",
            what_to_do="Set strategy to auto, or start another number of processes.",
        )
    return parallel.strategy


def _blocks(model: nn.Module) -> list[nn.Module]:
    """The repeated parts of a model, as the layers of a transformer: the elements of its outermost module lists."""
    blocks: list[nn.Module] = []
    for child in model.children():
        blocks += list(child) if isinstance(child, nn.ModuleList) else _blocks(child)
    return blocks


def _split(inputs: Inputs, targets: torch.Tensor, parts: int) -> Iterator[tuple[Inputs, torch.Tensor]]:
    """Split a batch into parts of nearly the same size, in order."""
    if len(targets) < parts:
        raise ConfigurationError(
            "A process's share of a batch is smaller than the number of parts that it is split into",
            received=f"{len(targets)} samples a process, accumulation {parts}",
            expected="at least one sample a part",
            what_to_do="Raise batch_size or lower accumulation.",
        )
    split_inputs = zip(*(torch.tensor_split(tensor, parts) for tensor in inputs), strict=True)
    return zip(split_inputs, torch.tensor_split(targets, parts), strict=True)


def _schedule(
    optimizer: torch.optim.Optimizer, loop: LoopSettings, total_steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    if loop.schedule == "one_cycle":
        # torch divides by the steps of the rise less one.
        one_step = loop.warmup * total_steps == 1
        rise_share = loop.warmup * (1 + 1e-9) if one_step else loop.warmup
        return torch.optim.lr_scheduler.OneCycleLR(
            optimizer, loop.learning_rate, total_steps=total_steps, pct_start=rise_share
        )
    warmup = round(loop.warmup * total_steps)
    after: torch.optim.lr_scheduler.LRScheduler
    if loop.schedule == "cosine":
        after = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, total_steps - warmup))
    else:
        after = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    if not warmup:
        return after
    rise = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1 / (warmup + 1), total_iters=warmup)
    return torch.optim.lr_scheduler.SequentialLR(optimizer, [rise, after], [warmup])
