"""Train a model from builder references, and leave a model folder and the course of training."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stepworks.data.transform_parameters import TransformParameters
from stepworks.errors import ConfigurationError, DataError, TrainingError
from stepworks.reference import build, resolve
from stepworks.report.documents import Epoch, TrainingDocument
from stepworks.training.checkpoint.saver import Saver
from stepworks.training.checkpoint.state import frozen_digest
from stepworks.training.checkpoint.store import CheckpointStore
from stepworks.training.data.order import Order
from stepworks.training.data.samples import Samples
from stepworks.training.display import Display
from stepworks.training.interruption import Interruption
from stepworks.training.loop import TrainingLoop, total_steps
from stepworks.training.machine import is_out_of_memory
from stepworks.training.metrics import Listener, MetricsFile
from stepworks.training.model_directory import save_model
from stepworks.training.outcome import Outcome
from stepworks.training.parallel import Engine
from stepworks.training.process_group import Processes, join
from stepworks.training.spec import ParallelSettings, TrainingSpec
from stepworks.training.trainer_status import TrainerStatus
from stepworks.training.trial import try_model
from stepworks.training.workspace import Workspace

_OWN_INPUTS = ("train", "validation", "transform")

logger = logging.getLogger(__name__)


def train(spec: TrainingSpec, workspace: Workspace) -> TrainingDocument:
    """Train in this process, or resume training, and write the best model into the workspace.

    Args:
        spec: What to train; of the builder form.
        workspace: The run's own folder; a later attempt that gives the same folder resumes.

    Returns:
        The course of training.

    Raises:
        ConfigurationError: A reference or a setting is wrong, or the model does not fit the samples; told before the
            first epoch.
        DataError: An input cannot be read.
        TrainingError: Training cannot go on, or was stopped by the STOP file.
    """
    workspace.make()
    interruption = Interruption(spec.grace_seconds, workspace.stop_file)
    with join(spec.parallel.device, timeout_seconds=spec.parallel.timeout_seconds) as processes:
        outcome = train_builders(spec, workspace, processes, interruption)
    if outcome.state != "completed":
        raise TrainingError(
            f"Training was stopped after step {outcome.step}",
            received=f"the file {workspace.stop_file}",
            what_to_do="Delete the file and train again: training resumes.",
        )
    return TrainingDocument.read(workspace.document)


def train_builders(
    spec: TrainingSpec, workspace: Workspace, processes: Processes, interruption: Interruption
) -> Outcome:
    """The builder form of the contract: what each process of a run does.

    Returns:
        How it ended; on `completed`, rank 0 has written the model and the training document.

    Raises:
        StepworksError: As of `train`.
    """
    transform, train_samples, validation_samples = _read_inputs(spec, workspace)
    seed_everything(spec.loop.seed)
    module = _build_model(spec, workspace, transform)
    with _telling_of_memory(spec, processes):
        _try_model(spec, module, train_samples, validation_samples, processes.device)
    order = Order(len(train_samples), spec.loop.batch_size, spec.loop.seed, getattr(train_samples, "block_sizes", None))
    identity = _identity(spec, module, train_samples, validation_samples) if processes.rank == 0 else {}
    with _reproducible(spec.parallel), _telling_of_memory(spec, processes):
        engine = Engine(module, spec.loop, spec.parallel, processes, total_steps(spec.loop, order))
        if processes.rank:
            # The weights are the same everywhere; what is drawn in training, as dropout, must not be.
            seed_everything(spec.loop.seed * 1_000_003 + processes.rank)
        leads = processes.rank == 0
        store = CheckpointStore(workspace.checkpoints, identity, topology=_topology(engine), keep=spec.checkpoints.keep)
        if leads:
            store.take_over()
        logger.info(
            "Training %s on %d x %s%s: %d samples",
            spec.model,
            processes.world,
            _device_name(processes.device),
            "" if engine.strategy == "none" else f", {engine.strategy}",
            len(train_samples),
        )
        with contextlib.ExitStack() as stack:
            saver = stack.enter_context(Saver(store, processes.checkpoints, asynchronous=spec.checkpoints.asynchronous))
            listeners: list[Listener] = []
            if leads:
                listeners = [stack.enter_context(Display()), stack.enter_context(TrainerStatus())]
            metrics = MetricsFile(workspace.metrics if leads else None, listeners)
            loop = TrainingLoop(engine, train_samples, validation_samples, order, spec, saver, interruption, metrics)
            end = loop.run(on_epoch=_log_epoch if leads else lambda _epoch: None)
            if end == "completed":
                _write_results(spec, workspace, transform, loop)
    return Outcome(state=end, step=loop.course.step, committed_step=saver.committed_step, rank=processes.rank)


def seed_everything(seed: int) -> None:
    """Seed Python's, numpy's and torch's generators, before the model is built."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def _read_inputs(
    spec: TrainingSpec, workspace: Workspace
) -> tuple[TransformParameters | None, Samples, Samples | None]:
    resolve(spec.model, role="model")  # A wrong name is told before a large table is read.
    if "train" not in spec.inputs:
        raise ConfigurationError(
            "The input to train on is missing",
            received=f"the inputs {', '.join(spec.inputs) or '(none)'}",
            expected="train; and validation and transform, where the model has them",
            what_to_do="Give the input train.",
        )
    transform = (
        TransformParameters.read(workspace.input(spec.inputs["transform"])) if "transform" in spec.inputs else None
    )
    given = [] if transform is None else [transform]

    def samples(name: str) -> Samples:
        path = workspace.input(spec.inputs[name])
        read: Samples = build(spec.data, path, *given, role="data", settings=spec.data_settings)
        return read

    return transform, samples("train"), samples("validation") if "validation" in spec.inputs else None


def _build_model(spec: TrainingSpec, workspace: Workspace, transform: TransformParameters | None) -> torch.nn.Module:
    given = [] if transform is None else [transform]
    further: dict[str, Path] = {name: workspace.input(spec.inputs[name]) for name in _further_inputs(spec)}
    module = build(spec.model, *given, role="model", settings={**spec.model_settings, **further})
    if not isinstance(module, torch.nn.Module) or not callable(getattr(module, "loss", None)):
        raise ConfigurationError(
            f"The model builder {spec.model} did not return a model",
            received=type(module).__name__,
            expected="a torch.nn.Module with a method loss(outputs, targets)",
            what_to_do="Return the module from the builder.",
        )
    return module


def _try_model(
    spec: TrainingSpec, module: torch.nn.Module, train: Samples, validation: Samples | None, device: torch.device
) -> None:
    try_model(module, train, device, model=spec.model, data=spec.data)
    if validation is None:
        return
    if not len(validation):
        raise DataError(
            "There is nothing to validate on",
            received=f"0 samples in {spec.inputs['validation']}",
            expected="at least one",
            what_to_do="Look at the data that the data builder was given, or leave out the input validation.",
        )
    try_model(module, validation, device, model=spec.model, data=spec.data, monitor=spec.loop.monitor)


def _further_inputs(spec: TrainingSpec) -> list[str]:
    """The names of the inputs that the model builder takes."""
    return [name for name in spec.inputs if name not in _OWN_INPUTS]


def _identity(
    spec: TrainingSpec, module: torch.nn.Module, train_samples: Samples, validation_samples: Samples | None
) -> dict[str, str]:
    """What must be the same for a checkpoint to be resumed, each field by its name."""
    frozen = frozen_digest(module)
    return {
        "model": spec.model,
        "model_settings": json.dumps(spec.model_settings, sort_keys=True),
        "data": spec.data,
        "data_settings": json.dumps(spec.data_settings, sort_keys=True),
        **{f"loop.{name}": str(value) for name, value in spec.loop.model_dump().items()},
        "parallel.precision": spec.parallel.precision,
        "parallel.compile": str(spec.parallel.compile),
        "train": train_samples.fingerprint(),
        "validation": validation_samples.fingerprint() if validation_samples is not None else "none",
        **({"frozen_weights": frozen} if frozen else {}),
    }


def _topology(engine: Engine) -> dict[str, str]:
    return {
        "processes": str(engine.processes.world),
        "strategy": engine.strategy,
        "device": _device_name(engine.processes.device),
        "torch": torch.__version__,
    }


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


@contextlib.contextmanager
def _reproducible(parallel: ParallelSettings) -> Iterator[None]:
    """Use operations with the same result each time where torch has them; it warns of those that it has not."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    memory: Any = torch.utils.deterministic
    filled = memory.fill_uninitialized_memory
    torch.use_deterministic_algorithms(parallel.deterministic, warn_only=True)
    memory.fill_uninitialized_memory = False  # It finds faults in torch, at a price.
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        memory.fill_uninitialized_memory = filled


def _write_results(
    spec: TrainingSpec, workspace: Workspace, transform: TransformParameters | None, loop: TrainingLoop
) -> None:
    """Write the model and the document; the weights are gathered from all processes."""
    weights = loop.engine.whole_weights()
    if loop.processes.rank == 0:
        save_model(
            workspace.model,
            weights,
            transform,
            spec.model,
            spec.model_settings,
            spec.data,
            data_settings=spec.data_settings,
            inputs=_further_inputs(spec),
        )
        settings: dict[str, Any] = {**spec.loop.model_dump(), **spec.parallel.model_dump(), **spec.model_settings}
        document = TrainingDocument(
            model=spec.model,
            device=_device_name(loop.processes.device),
            parameters=sum(math.prod(parameter.shape) for parameter in loop.engine.model.parameters()),
            epochs=list(loop.course.epochs),
            best_epoch=loop.course.best_epoch,
            stopped_by="early_stop" if loop.course.finished == "early_stop" else "epochs",
            resumed_from_epoch=loop.resumed_from_epoch,
            settings={name: str(value) for name, value in settings.items()},
        )
        document.write(workspace.document)
    loop.processes.barrier()


@contextlib.contextmanager
def _telling_of_memory(spec: TrainingSpec, processes: Processes) -> Iterator[None]:
    """Say of memory that does not suffice which settings need less."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise _out_of_memory(spec, processes, error) from error


def _out_of_memory(spec: TrainingSpec, processes: Processes, error: BaseException) -> TrainingError:
    share = spec.loop.batch_size // processes.world
    advice = [f"raise accumulation above {spec.loop.accumulation}, or lower batch_size below {spec.loop.batch_size}"]
    if spec.parallel.precision == "fp32":
        advice.append("set precision to bf16")
    if processes.world > 1 and spec.parallel.strategy != "fsdp":
        advice.append("set strategy to fsdp")
    return TrainingError(
        "The memory of the device does not suffice for a training step",
        received=f"{share} samples a process in {spec.loop.accumulation} parts; {str(error).splitlines()[0]}",
        expected="a part of a batch that fits beside weights, gradients and optimizer state",
        what_to_do=f"{'; or '.join(advice)}.".capitalize(),
    )


def _log_epoch(epoch: Epoch) -> None:
    logger.info(
        "epoch %2d  train loss %.4f  %s%.1f s  %.0f samples/s",
        epoch.epoch,
        epoch.train_loss,
        "".join(f"{name.replace('_', ' ')} {value:.4f}  " for name, value in epoch.metrics.items()),
        epoch.seconds,
        epoch.samples_per_second,
    )
