"""A training that takes no time: what a trial runs in the tests of a search."""

import time

from stepworks.training.context import TrainingContext


def train(context: TrainingContext, *, rate: float, kind: str, steps: int = 3, pause: float = 0.0) -> None:
    """Report a loss that is the smaller the nearer the rate is to 0.3."""
    for step in range(1, steps + 1):
        context.report(step=step, loss=abs(rate - 0.3) + 1 / step, is_b=float(kind == "b"))
        time.sleep(pause)
        if context.should_stop():
            return
    kept = context.checkpoints.parent / "kept"
    kept.mkdir()
    (kept / "step").write_text(str(steps))
    context.commit(kept, step=steps)
    context.model.mkdir(exist_ok=True)
    (context.model / "rate").write_text(repr(rate))
