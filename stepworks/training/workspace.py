"""The folders of one training run, the same for every process and every attempt.

Everything is below one root, which is on a claim, or on a laptop. Whoever starts the processes and whatever they run
agree by it: a command that is not ours finds its places in the environment variables of `environment`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stepworks.errors import ResourceError

VARIABLE_PREFIX = "STEPWORKS_"
LOG_VARIABLE = f"{VARIABLE_PREFIX}LOG_TO_FILES"
"""If set, each process writes what it prints to its log in the workspace."""
LIFELINE_VARIABLE = f"{VARIABLE_PREFIX}LIFELINE"
"""If set, standard input is a pipe; when it ends, whoever started the processes is gone, and so they end."""


@dataclass(frozen=True)
class Workspace:
    """The places of a run.

    Attributes:
        root: The run's own folder.
    """

    root: Path

    @property
    def spec(self) -> Path:
        """What is to be trained, as `TrainingSpec` writes it."""
        return self.root / "spec.json"

    @property
    def inputs(self) -> Path:
        """Inputs that were copied here."""
        return self.root / "inputs"

    @property
    def checkpoints(self) -> Path:
        """The checkpoints; a later attempt resumes from them."""
        return self.root / "checkpoints"

    @property
    def model(self) -> Path:
        """The finished model."""
        return self.root / "model"

    @property
    def metrics(self) -> Path:
        """The course of training, a JSON object a line."""
        return self.root / "metrics.jsonl"

    @property
    def document(self) -> Path:
        """How training went, once it is completed: the training document of the report."""
        return self.root / "training.json"

    @property
    def outcome(self) -> Path:
        """How the last attempt ended."""
        return self.root / "outcome.json"

    @property
    def permanent_error(self) -> Path:
        """Is there if another attempt would end as the last one did, and says why."""
        return self.root / "permanent-error.json"

    @property
    def stop_file(self) -> Path:
        """Whoever makes this file has training commit a checkpoint and stop."""
        return self.root / "STOP"

    @property
    def logs(self) -> Path:
        """What each process printed."""
        return self.root / "logs"

    def log(self, rank: int) -> Path:
        """What a process printed."""
        return self.logs / f"rank-{rank}.log"

    def pid_file(self, rank: int) -> Path:
        """The process ids of a rank that this machine's launcher started, and of its command; each leads a session."""
        return self.logs / f"rank-{rank}.pid"

    def sessions(self, rank: int) -> list[int]:
        """What the pid file of a rank says; empty without one."""
        try:
            return [int(line) for line in self.pid_file(rank).read_text().split()]
        except (OSError, ValueError):
            return []

    def input(self, path: str) -> Path:
        """Where an input of a spec is: an absolute path is itself, any other is below `inputs`."""
        return self.inputs / path

    def make(self) -> None:
        """Make the folders that processes write to.

        Raises:
            ResourceError: They cannot be made.
        """
        try:
            for folder in (self.checkpoints, self.logs):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ResourceError(
                f"The workspace {self.root} cannot be made",
                received=f"{type(error).__name__}: {error.strerror}",
                expected="a folder that the step may write to",
                what_to_do="Mount the claim in the step, and let its user write to it.",
            ) from error

    def environment(self, inputs: Mapping[str, str], grace_seconds: float) -> dict[str, str]:
        """The variables by which a process finds its places.

        Args:
            inputs: The inputs of the spec; `train` becomes `STEPWORKS_INPUT_TRAIN`.
            grace_seconds: How long the process may go on after SIGTERM.
        """
        places = {
            "WORKSPACE": self.root,
            "CHECKPOINTS": self.checkpoints,
            "MODEL": self.model,
            "METRICS": self.metrics,
            "GRACE_SECONDS": f"{grace_seconds:g}",
            **{f"INPUT_{name.upper()}": self.input(path) for name, path in inputs.items()},
        }
        return {f"{VARIABLE_PREFIX}{name}": str(value) for name, value in places.items()}
