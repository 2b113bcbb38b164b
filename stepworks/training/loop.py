"""The training loop: one for every model of ours, on any number of processes.

What a checkpoint keeps is taken between two optimizer steps, and everything that follows is a function of it: so a run
that was killed and resumed takes the same steps as one that was not.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import Literal, TypeVar

import torch

from stepworks.errors import StepworksError
from stepworks.report.documents import Epoch
from stepworks.training.checkpoint.saver import Saver, Snapshot
from stepworks.training.checkpoint.state import (
    load_tensors,
    load_weights,
    random_state,
    read_state,
    restore_random_state,
    tensors_of,
)
from stepworks.training.data.loader import Batch, Loader
from stepworks.training.data.order import Order
from stepworks.training.data.samples import Samples
from stepworks.training.interruption import Interruption, Reason
from stepworks.training.meter import Meter
from stepworks.training.metrics import MetricsFile
from stepworks.training.parallel import Engine
from stepworks.training.process_group import Agreement
from stepworks.training.progress import Course, Signals
from stepworks.training.spec import LoopSettings, TrainingSpec
from stepworks.training.validation import LOSS, validate
from stepworks.training.verdict import Verdict

logger = logging.getLogger(__name__)

End = Literal["completed", "preempted", "stopped"]
_Answer = TypeVar("_Answer")


class TrainingLoop:
    """One training run: resumes from the newest checkpoint, trains, validates, and commits checkpoints.

    Args:
        engine: The model on all processes.
        train: The samples to train on.
        validation: The samples to choose the best epoch by; None to end with the last weights.
        order: The order of the samples to train on.
        spec: What the loop does, and when the state is kept.
        saver: Writes the checkpoints.
        interruption: Says when to stop.
        metrics: Takes the course of training.
    """

    def __init__(
        self,
        engine: Engine,
        train: Samples,
        validation: Samples | None,
        order: Order,
        spec: TrainingSpec,
        saver: Saver,
        interruption: Interruption,
        metrics: MetricsFile,
    ) -> None:
        self.engine = engine
        self.processes = engine.processes
        self.train = train
        self.validation = validation
        self.order = order
        self.settings = spec.loop
        self.spec = spec
        self.saver = saver
        self.interruption = interruption
        self.metrics = metrics
        self.total_steps = total_steps(spec.loop, order)
        self.course = Course()
        self.resumed_from_epoch: int | None = None
        self._epoch_loss = torch.zeros((), device=self.processes.device)
        self._epoch_started = time.monotonic()
        self._agreement = Agreement(self.processes)
        self._verdict = Verdict(spec.loop, scaled=engine.scaler.is_enabled(), late=self.processes.device.type == "cuda")
        self._signals = Signals(spec.checkpoints, saver, interruption, leads=self.processes.rank == 0)
        self._meter = Meter(self.processes.world, self.processes.device, engine.model)

    def run(self, on_epoch: Callable[[Epoch], None] = lambda _epoch: None) -> End:
        """Train to the last step, the early stop, or an interruption.

        Args:
            on_epoch: Called with each epoch that ended.

        Returns:
            How it ended. If `completed`, the model has the weights of the best epoch; otherwise the next run resumes.

        Raises:
            TrainingError: The loss is not finite, or above its limit; or the memory does not suffice.
            CheckpointError: The checkpoints are of another run or version, none is complete, or the best is torn.
            TakenOverError: A later attempt at the run has begun.
            ResourceError: A checkpoint cannot be written.
        """
        if self.engine.strategy == "ddp":
            self.engine.warm_up(*self.train.take(torch.arange(self._part_size())))
        self._resume()
        end: End = "completed"
        if not self.course.finished:
            end = self._train(on_epoch)
        if end == "completed":
            self._from_store(self.saver.store.refuse_if_taken_over)
            self._take_best_weights()
        return end

    def _train(self, on_epoch: Callable[[Epoch], None]) -> End:
        loader = Loader(
            self.train,
            self.order,
            rank=self.processes.rank,
            world=self.processes.world,
            device=self.processes.device,
            start=self.course.position,
        )
        self._meter.take()
        with loader:
            for batch in loader:
                self._step(batch)
                if batch.next.batch == 0 or self.course.step == self.total_steps:
                    on_epoch(self._end_epoch())
                reason = self._act_on_signals()
                if self.course.finished:
                    break
                if reason is not Reason.NONE:
                    return self._stop(reason)
        self._agreement.result()
        self.saver.wait()
        return "completed"

    def _step(self, batch: Batch) -> None:
        """Take one optimizer step, unless the loss or the gradient is not finite."""
        loss = self.engine.accumulate(batch.inputs, batch.targets)
        norm = self.engine.clip()
        self._verdict.judge(self.course.step + 1, loss, norm)
        self.engine.update()
        world = self.processes.world
        samples = len(batch.targets) * world
        tokens = batch.targets.numel() * world if batch.targets.ndim > 1 else 0
        self.course = self.course.after_step(batch.next, samples=samples, tokens=tokens)
        self._epoch_loss += loss
        self._meter.add(samples=samples, tokens=tokens, waited=batch.waited)
        if self.course.step % self.spec.log_every_steps == 0:
            self._log_step(loss, norm)

    def _log_step(self, loss: torch.Tensor, norm: torch.Tensor) -> None:
        self._meter.stalled = self.saver.take_blocked_seconds()
        self.metrics.write(
            "step",
            step=self.course.step,
            of=self.total_steps,
            epoch=self.course.position.epoch - (self.course.position.batch == 0),
            loss=float(loss),
            gradient_norm=float(norm),
            learning_rate=self.engine.schedule.get_last_lr()[0],
            samples=self.course.samples,
            tokens=self.course.tokens,
            **self._meter.take(),
        )

    def _end_epoch(self) -> Epoch:
        """Validate, write the epoch down, and keep the state."""
        self._verdict.settle()
        steps = self.course.steps_of_epoch(self.order.batches_per_epoch)
        seconds_of_training = self._seconds_of_epoch()
        figures = {}
        if self.validation is not None:
            figures = validate(
                self.engine, self.validation, batch_size=self._part_size(), monitor=self.settings.monitor
            )
        epoch = Epoch(
            epoch=len(self.course.epochs) + 1,
            train_loss=float(self._epoch_loss) / steps,
            validation_loss=figures.pop(LOSS, None),
            validation_auc=figures.pop("validation_auc", None),
            figures=figures,
            learning_rate=self.engine.schedule.get_last_lr()[0],
            seconds=self._seconds_of_epoch(),
            samples_per_second=steps * self.settings.batch_size / seconds_of_training,
        )
        self.course = self.course.after_epoch(epoch, self.settings, last=self.course.step == self.total_steps)
        self._epoch_loss.zero_()
        self._epoch_started = time.monotonic()
        self.metrics.write("epoch", step=self.course.step, **epoch.model_dump())
        self._save(monitored=epoch.metrics.get(self.settings.monitor))
        return epoch

    def _seconds_of_epoch(self) -> float:
        """How long this epoch has taken so far, in all attempts."""
        return self.course.epoch_seconds + time.monotonic() - self._epoch_started

    def _part_size(self) -> int:
        """How many samples a process has on its device at once."""
        return -(-self.settings.batch_size // (self.processes.world * self.settings.accumulation))

    def _act_on_signals(self) -> Reason:
        """Hear of all processes, one step late, whether to stop and whether to keep the state."""
        agreed = self._signals.heard(self._agreement.exchange(self._signals.own()), step=self.course.step)
        if agreed.failed:
            self.saver.wait()  # raises what went wrong, in each process at this step
        if agreed.save and agreed.reason is Reason.NONE and self.course.position.batch:
            self._save()
        return agreed.reason

    def _stop(self, reason: Reason) -> End:
        """Keep the state, if there is time for it; another run resumes from it, or from the last one that was kept."""
        self._verdict.settle()
        self._agreement.result()
        left, needed = self._signals.agree_on_time(self._agreement)
        try:
            self.saver.wait(left if math.isfinite(left) else None)
            if self.saver.committed_step != self.course.step:
                if needed > left:
                    logger.warning("%.0f s are left and a checkpoint takes %.0f s: none is begun", left, needed)
                else:
                    self._save()
                    self.saver.wait(left if math.isfinite(left) else None)
        except TimeoutError:
            logger.warning("The checkpoint that is being written is not done in time")
        return "preempted" if reason is Reason.SIGTERM else "stopped"

    def _save(self, monitored: float | None = None) -> None:
        self._verdict.settle()
        self.saver.save(
            Snapshot(
                self.course.step,
                tensors_of(self.engine.model, self.engine.optimizer),
                {
                    **self.course.to_json(epoch_loss=float(self._epoch_loss), epoch_seconds=self._seconds_of_epoch()),
                    "schedule": self.engine.schedule.state_dict(),
                    "scaler": self.engine.scaler.state_dict(),
                },
                random_state(self.processes.device),
                monitored,
                self.course.best_step or None,
            )
        )
        self._signals.saved()

    def _resume(self) -> None:
        """Take up the newest checkpoint, if there is one."""
        found = self._from_store(self.saver.store.newest)
        if found is None:
            self.metrics.begin(0)
            return
        folder = found.folder
        load_tensors(folder, self.engine.model, self.engine.optimizer, self.processes.checkpoints)
        state = read_state(folder)
        self.engine.schedule.load_state_dict(state.pop("schedule"))
        self.engine.scaler.load_state_dict(state.pop("scaler"))
        self.course = Course.from_json(state)
        self._epoch_loss.fill_(self.course.epoch_loss)
        self.saver.committed_step = self.course.step
        self.resumed_from_epoch = len(self.course.epochs)
        if not restore_random_state(folder, self.processes.rank, self.processes.device):
            logger.warning("The checkpoint has no random state for process %d; it begins anew", self.processes.rank)
        if found.manifest.topology != self.saver.store.topology:
            logger.warning(
                "The checkpoint was written by %s, and goes on with %s: the order of the samples is the same, the "
                "sums may differ in their last bits",
                found.manifest.topology,
                self.saver.store.topology,
            )
        self.metrics.begin(self.course.step)
        logger.info("Resumed after step %d, epoch %d", self.course.step, len(self.course.epochs))

    def _take_best_weights(self) -> None:
        best_step = self.course.best_step
        if best_step != self.course.step:
            best = self._from_store(lambda: self.saver.store.verified(best_step))
            load_weights(best.folder, self.engine.model, self.processes.checkpoints)

    def _from_store(self, ask: Callable[[], _Answer]) -> _Answer:
        """What rank 0 gets of its store; an error is raised by all."""
        answer: _Answer | StepworksError | None = None
        if self.processes.rank == 0:
            try:
                answer = ask()
            except StepworksError as error:
                answer = error
        answer = self.processes.from_rank_0(answer)
        if isinstance(answer, StepworksError):
            raise answer
        return answer  # type: ignore[return-value]


def total_steps(settings: LoopSettings, order: Order) -> int:
    """The optimizer steps of a whole run, unless it stops early."""
    steps = settings.epochs * order.batches_per_epoch
    return steps if settings.steps is None else min(steps, settings.steps)
