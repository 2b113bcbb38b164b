"""Every error that Stepworks raises on purpose.

The tree::

    StepworksError                 what happened, what was received, what was expected, what to do
    ├── UserError                  the caller's mistake; the command line exits with 2
    │   ├── ConfigurationError     a target, placement, contract or setting is wrong
    │   ├── ParameterError         a pipeline parameter is unknown or has a wrong value
    │   └── NotFoundError          no such pipeline, target, model, version or file
    └── RunError                   the work failed; the command line exits with 1
        ├── DataError              the data is not what its contract says
        ├── TrainingError          training cannot start or go on
        │   └── CheckpointError    a checkpoint is missing, torn or of another configuration
        ├── EvaluationError        a metric cannot be computed or trusted
        ├── ServingError           a model cannot be packaged, served or rolled out
        ├── RegistryError          the model registry refuses, or cannot be read or written
        ├── DeliveryError          Kubeflow Pipelines refuses, contradicts or does not answer
        ├── StepFailedError        a step of a pipeline run ended badly
        └── ResourceError          the machine refuses: port in use, disk full, no permission
"""

from __future__ import annotations

from typing import ClassVar


class StepworksError(Exception):
    """The root of the tree.

    Args:
        problem: What happened, in one sentence without a full stop.
        received: What was found.
        expected: What should have been there.
        what_to_do: The next action of the reader.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, problem: str, *, received: str = "", expected: str = "", what_to_do: str = "") -> None:
        self.problem = problem
        self.received = received
        self.expected = expected
        self.what_to_do = what_to_do
        super().__init__(problem)

    def __str__(self) -> str:
        lines = [self.problem]
        lines += [
            f"  {label}: {text}"
            for label, text in (
                ("Received", self.received),
                ("Expected", self.expected),
                ("What to do", self.what_to_do),
            )
            if text
        ]
        return "\n".join(lines)


class UserError(StepworksError):
    """The caller's mistake; nothing was started or changed."""

    exit_code = 2


class ConfigurationError(UserError):
    """A target, placement, contract or setting is wrong."""


class ParameterError(UserError):
    """A pipeline parameter is unknown, or its value has the wrong type."""


class NotFoundError(UserError):
    """What was named does not exist."""


class RunError(StepworksError):
    """The work itself failed."""


class DataError(RunError):
    """The data is not what its contract says."""


class TrainingError(RunError):
    """Training cannot start, or cannot go on."""


class CheckpointError(TrainingError):
    """A checkpoint is missing, torn, or was written by another configuration."""


class EvaluationError(RunError):
    """A metric cannot be computed, or cannot be trusted."""


class ServingError(RunError):
    """A model cannot be packaged, served or rolled out."""


class RegistryError(RunError):
    """The model registry refuses, or cannot be read or written."""


class DeliveryError(RunError):
    """Kubeflow Pipelines refuses, holds something else than it should, or does not answer."""


class StepFailedError(RunError):
    """A step of a pipeline run ended badly."""


class ResourceError(RunError):
    """The machine refuses: a port in use, a full disk, a missing permission."""
