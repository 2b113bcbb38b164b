"""What runs the attempts of a run's steps: processes of this machine, or pods of a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from stepworks.kubeflow.local.steps import Step


@dataclass(frozen=True)
class Ended:
    """How an attempt ended.

    Attributes:
        exit_code: That of its command; negative for a signal.
        page: Why it ended, where more is known than its log says; empty where the log says all.
    """

    exit_code: int
    page: str = ""


class Attempt(Protocol):
    """One attempt of a step, from its start to the end of all that it left."""

    def wait(self) -> Ended:
        """Wait until it has ended by itself.

        Raises:
            StepworksError: It cannot run, and another attempt could not either.
        """
        ...

    def signal(self, number: int) -> None:
        """Ask it to end, or with SIGKILL end it; this waits for nothing, since a signal's handler calls it."""
        ...

    def end(self, deadline: float) -> None:
        """End it, and wait until nothing of it is left; from `deadline` (monotonic clock) on, by force.

        Raises:
            StepworksError: Something of it may be left.
        """
        ...


class Runner(Protocol):
    """Starts the attempts of steps."""

    def start(self, step: Step, command: list[str], environment: Mapping[str, str], log: Path) -> Attempt:
        """Start an attempt; its output is added to `log`.

        Args:
            step: The step.
            command: What kfp would run on this machine: the step's command with its executor input.
            environment: The variables that the step's container has.
            log: The log file of the execution, which earlier attempts have written to.

        Raises:
            StepworksError: It cannot be started.
        """
        ...
