"""Where a run is, and what its processes tell each other between two steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from stepworks.errors import CheckpointError
from stepworks.report.documents import Epoch
from stepworks.training.checkpoint.saver import Saver
from stepworks.training.data.loader import Position
from stepworks.training.interruption import Interruption, Reason
from stepworks.training.process_group import Agreement
from stepworks.training.spec import CheckpointSettings, LoopSettings

Finished = Literal["", "epochs", "early_stop"]

_MARGIN = 1.5
"""By how much a save may take longer than nearly all before it took."""


@dataclass(frozen=True)
class Course:
    """Where a run is: what a checkpoint keeps beside weights, optimizer, schedule and generators.

    Attributes:
        step: The optimizer steps that were taken.
        position: The next batch.
        samples: Samples that were trained on, all processes together.
        tokens: Tokens that were trained on, where a target is one a token.
        epochs: Those that ended.
        epoch_loss: The sum of the losses of this epoch's steps.
        epoch_seconds: How long this epoch took already, in earlier attempts.
        best_epoch: The epoch with the best monitored figure; 0 before the first.
        best_step: The step at whose end that epoch was, whose checkpoint has its weights; 0 before the first.
        best_value: That figure.
        finished: Why the run is at its end; empty if it is not.
    """

    step: int = 0
    position: Position = field(default_factory=lambda: Position(1, 0))
    samples: int = 0
    tokens: int = 0
    epochs: tuple[Epoch, ...] = ()
    epoch_loss: float = 0.0
    epoch_seconds: float = 0.0
    best_epoch: int = 0
    best_step: int = 0
    best_value: float | None = None
    finished: Finished = ""

    def after_step(self, position: Position, *, samples: int, tokens: int) -> Course:
        """Where the run is after one more step."""
        return replace(
            self,
            step=self.step + 1,
            position=position,
            samples=self.samples + samples,
            tokens=self.tokens + tokens,
        )

    def steps_of_epoch(self, batches_per_epoch: int) -> int:
        """The steps of this epoch so far; all of the last one's at its end."""
        return self.position.batch or batches_per_epoch

    def after_epoch(self, epoch: Epoch, settings: LoopSettings, *, last: bool) -> Course:
        """Where the run is after an epoch: whether it was the best, and whether it is the end."""
        best_epoch, best_step, best_value = self.best_epoch, self.best_step, self.best_value
        value = epoch.metrics.get(settings.monitor)
        sign = 1 if settings.maximize else -1
        # Without validation the last epoch is the best.
        if value is None or best_value is None or sign * value > sign * best_value:
            best_epoch, best_step, best_value = epoch.epoch, self.step, value
        finished: Finished = "epochs" if last else ""
        if settings.patience is not None and epoch.epoch - best_epoch >= settings.patience:
            finished = "early_stop"
        return replace(
            self,
            epochs=(*self.epochs, epoch),
            epoch_seconds=0.0,
            epoch_loss=0.0,
            best_epoch=best_epoch,
            best_step=best_step,
            best_value=best_value,
            finished=finished,
        )

    def to_json(self, *, epoch_loss: float, epoch_seconds: float) -> dict[str, Any]:
        """As a checkpoint keeps it, with how far this epoch is."""
        return {
            **vars(self),
            "position": [self.position.epoch, self.position.batch],
            "epochs": [epoch.model_dump() for epoch in self.epochs],
            "epoch_loss": epoch_loss,
            "epoch_seconds": epoch_seconds,
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Course:
        """What `to_json` wrote.

        Raises:
            CheckpointError: Another version wrote it, which kept other fields.
        """
        own = {each.name for each in fields(cls)}
        if content.keys() != own:
            different = [f"no {name}" for name in sorted(own - content.keys())]
            different += [f"an unknown {name}" for name in sorted(content.keys() - own)]
            raise CheckpointError(
                "The checkpoint was written by another version of Stepworks",
                received=f"{', '.join(different)} in its state",
                expected=", ".join(sorted(own)),
                what_to_do="Resume with the version that wrote it, or delete the checkpoints to train from the start.",
            )
        epochs = tuple(Epoch(**epoch) for epoch in content["epochs"])
        return cls(**{**content, "position": Position(*content["position"]), "epochs": epochs})


@dataclass(frozen=True)
class Agreed:
    """What all processes do after a step: `save` is whether the state is to be kept, `failed` whether that failed."""

    reason: Reason = Reason.NONE
    save: bool = False
    failed: bool = False


class Signals:
    """What a process says to the others after each step, and what follows from what all said.

    Args:
        settings: When the state is to be kept.
        saver: Writes the checkpoints.
        interruption: Says when to stop.
        leads: Whether this process's clock decides when a checkpoint is due by time; one does.
        clock: Seconds; it never goes back.
    """

    def __init__(
        self,
        settings: CheckpointSettings,
        saver: Saver,
        interruption: Interruption,
        *,
        leads: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._saver = saver
        self._interruption = interruption
        self._leads = leads
        self._clock = clock
        self._saved_at = clock()
        self._due = False
        self._old_news = 0

    def own(self) -> list[float]:
        """What this process says."""
        every = self._settings.every_seconds
        due = self._leads and every is not None and self._clock() - self._saved_at >= every
        return [self._interruption.reason, due, self._saver.failed, self._saver.busy]

    def heard(self, said: Sequence[float] | None, *, step: int) -> Agreed:
        """What follows from the greatest of what all said a step ago; the same in each process."""
        every = self._settings.every_steps
        self._due = self._due or (every is not None and step % every == 0)
        if said is None:
            return Agreed()
        reason, due, failed, busy = said
        if self._old_news:
            # This was said before the last checkpoint was begun, and knows nothing of it.
            self._old_news -= 1
            due, busy = False, self._saver.asynchronous
        self._due = self._due or bool(due)
        # One that is still being written is not waited for: the next one comes later.
        return Agreed(Reason(int(reason)), save=self._due and not busy, failed=bool(failed))

    def saved(self) -> None:
        """Note that a checkpoint was begun."""
        self._due = False
        self._saved_at = self._clock()
        self._old_news = 1 if self._saver.group is not None else 0

    def agree_on_time(self, agreement: Agreement) -> tuple[float, float]:
        """How many seconds are left before the first process is killed, and how many a checkpoint takes."""
        durations = sorted(self._saver.durations)
        needed = _MARGIN * durations[int(0.95 * len(durations))] if durations else 0.0
        said = agreement.exchange([-self._interruption.seconds_left, needed])
        said = agreement.result() or said
        assert said is not None
        return -said[0], said[1]
