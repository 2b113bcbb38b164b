"""Runs a module as a program, with faults at its optimizer steps: `python -m tests.training.faulty <module> …`.

Beside those of `small` there is `preempt`: the worker that started the program gets SIGTERM, and hands it on.
"""

import os
import runpy
import signal
import sys
import threading
from typing import Any

from torch.optim.optimizer import register_optimizer_step_post_hook

from tests.training.small import visit


def watch_steps() -> None:
    """Have the process visit the place `step` after each optimizer step."""

    def hook(*_given: Any) -> None:
        if visit("step") == "preempt":
            _preempt()

    register_optimizer_step_post_hook(hook)


def _preempt() -> None:
    own, heard = signal.getsignal(signal.SIGTERM), threading.Event()
    assert callable(own)

    def hear(*given: Any) -> None:
        own(*given)
        heard.set()

    signal.signal(signal.SIGTERM, hear)
    os.kill(os.getppid(), signal.SIGTERM)
    assert heard.wait(60)


if __name__ == "__main__":
    watch_steps()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
