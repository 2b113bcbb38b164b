"""Whether training may go on after a step: the same verdict in each process, since loss and gradient are of all."""

from __future__ import annotations

import math

import torch

from stepworks.errors import TrainingError
from stepworks.training.spec import LoopSettings

_LEAST_SCALE_STEPS = 50


class Verdict:
    """Judges the loss and the gradient of each step, before the step is taken.

    Args:
        settings: What the loop does.
        scaled: Whether the loss is scaled (fp16). A step whose gradient is not finite is then left out and the scale is
            lowered; it is an error only if that does not end.
        late: Whether to look at a step's numbers only when the next one is under way: on a GPU, looking at once would
            leave it idle. No state is kept before they were looked at (`settle`), so a bad step is never committed.
    """

    def __init__(self, settings: LoopSettings, *, scaled: bool = False, late: bool = False) -> None:
        self._settings = settings
        self._scaled = scaled
        self._late = late
        self._waiting: tuple[int, torch.Tensor, torch.Tensor] | None = None
        self._skipped = 0

    def judge(self, step: int, loss: torch.Tensor, norm: torch.Tensor) -> None:
        """Look at a step, or at the one before.

        Args:
            step: Its number.
            loss: The mean loss over all processes.
            norm: The norm of the gradient over all processes.

        Raises:
            TrainingError: One of them is not finite, or the loss is above its limit.
        """
        self.settle()
        self._waiting = (step, loss, norm)
        if not self._late:
            self.settle()

    def settle(self) -> None:
        """Look at what was not looked at yet.

        Raises:
            TrainingError: As of `judge`.
        """
        if self._waiting is None:
            return
        step, loss, norm = self._waiting[0], float(self._waiting[1]), float(self._waiting[2])
        self._waiting = None
        if not math.isfinite(loss):
            raise _not_finite("loss", step, loss, "Lower learning_rate, or look for extreme values in the data.")
        if not math.isfinite(norm):
            self._skipped += 1
            if not self._scaled or self._skipped >= _LEAST_SCALE_STEPS:
                raise _not_finite("gradient", step, norm, "Lower learning_rate, or set precision to bf16 or fp32.")
        else:
            self._skipped = 0
        limit = self._settings.loss_limit
        if limit is not None and loss > limit:
            raise TrainingError(
                f"Training has diverged at step {step}",
                received=f"a loss of {loss:g}",
                expected=f"at most {limit:g}, the loss_limit",
                what_to_do="Lower learning_rate, or raise loss_limit.",
            )


def _not_finite(what: str, step: int, value: float, what_to_do: str) -> TrainingError:
    return TrainingError(
        f"The training {what} is not finite at step {step}",
        received=str(value),
        expected=f"a finite {what}",
        what_to_do=what_to_do,
    )
