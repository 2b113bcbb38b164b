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
        │   ├── CheckpointError    a checkpoint is missing, torn or of another configuration
        │   └── TrainingEndedError     training was ended from outside; another attempt resumes
        ├── EvaluationError        a metric cannot be computed or trusted
        ├── ServingError           a model cannot be packaged, served or rolled out
        │   └── QueryError             a query of Prometheus says nothing that can be used
        ├── RegistryError          the model registry refuses, or cannot be read or written
        ├── DeliveryError          Kubeflow Pipelines refuses, contradicts or does not answer
        ├── StepFailedError        a step of a pipeline run ended badly
        ├── ClusterError           Kubernetes refuses, or does not answer
        │   ├── AccessDeniedError      a permission is missing; carries the rule that grants it
        │   ├── AdmissionError         a schema, a quota, a policy or a webhook refuses the object
        │   ├── ConflictError          somebody else holds the fields that were to be set
        │   │   └── AlreadyExistsError     there is an object of that name already
        │   ├── PreflightError         the cluster lacks what the pipeline needs
        │   ├── WorkloadFailedError    a job or a server failed or cannot start; carries the diagnosis
        │   └── WaitError              what was waited for did not come about
        │       ├── ObjectFailedError      the object ended badly
        │       ├── ObjectDeletedError     somebody deleted the object, or put another in its place
        │       └── WaitTimeoutError       the time is over; carries the last state seen
        └── ResourceError          the machine refuses: port in use, disk full, no permission
            └── TakenOverError         another attempt at the same work has begun
"""

from __future__ import annotations

from typing import Any, ClassVar


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


class TrainingEndedError(TrainingError):
    """Training was ended from outside, by SIGTERM or by its STOP file; another attempt resumes."""


class EvaluationError(RunError):
    """A metric cannot be computed, or cannot be trusted."""


class ServingError(RunError):
    """A model cannot be packaged, served or rolled out."""


class QueryError(ServingError):
    """A query of Prometheus is wrong, or says nothing that can be used."""


class RegistryError(RunError):
    """The model registry refuses, or cannot be read or written."""


class DeliveryError(RunError):
    """Kubeflow Pipelines refuses, holds something else than it should, or does not answer."""


class StepFailedError(RunError):
    """A step of a pipeline run ended badly."""


class ClusterError(RunError):
    """Kubernetes refuses, or does not answer."""


class AccessDeniedError(ClusterError):
    """A permission is missing in the cluster; what to do holds the rule of a Role that grants it."""


class AdmissionError(ClusterError):
    """Kubernetes' schema, a quota, a policy or a webhook refuses an object; it was not stored."""


class ConflictError(ClusterError):
    """The object was changed by somebody else, who holds the fields that were to be set."""


class AlreadyExistsError(ConflictError):
    """There is an object of that name already."""


class PreflightError(ClusterError):
    """The cluster lacks something without which the pipeline would fail, or wait for ever; nothing was started."""


class WorkloadFailedError(ClusterError):
    """A job or a server in the cluster failed, or cannot start; as text it is the page of the diagnosis.

    Args:
        problem: What happened, in one sentence without a full stop.
        page: The whole diagnosis, to be read by people; it ends with what to do.
        cause: The cause by its name in the table of causes, `out-of-memory`.
        permanent: Whether another attempt would end the same way.
        kind: The kind of the object, `Job`.
        name: Its name.
        conditions: Its conditions and those of what it made, a line each.
        pod: The pod that failed first; empty if none did.
        container_exit_code: With what its container ended; None if none did.
        scheduler_message: Why the scheduler finds no node for a pod; empty if it found one.
        events: The last events, a line each.
        log_tail: The last lines of the log of that container.
        received: What was found, in one line.
        what_to_do: The next action of the reader.
    """

    def __init__(
        self,
        problem: str,
        *,
        page: str = "",
        cause: str,
        permanent: bool,
        kind: str,
        name: str,
        conditions: tuple[str, ...] = (),
        pod: str = "",
        container_exit_code: int | None = None,
        scheduler_message: str = "",
        events: tuple[str, ...] = (),
        log_tail: str = "",
        received: str = "",
        what_to_do: str = "",
    ) -> None:
        self.page = page
        self.cause = cause
        self.permanent = permanent
        self.kind = kind
        self.name = name
        self.conditions = conditions
        self.pod = pod
        self.container_exit_code = container_exit_code
        self.scheduler_message = scheduler_message
        self.events = events
        self.log_tail = log_tail
        super().__init__(problem, received=received, what_to_do=what_to_do)

    def __str__(self) -> str:
        return self.page or super().__str__()


class WaitError(ClusterError):
    """What was waited for did not come about.

    Args:
        problem: What happened, in one sentence without a full stop.
        manifest: The object as it was last seen; None if it was not seen at all.
        received: What was found.
        expected: What should have been there.
        what_to_do: The next action of the reader.
    """

    def __init__(
        self,
        problem: str,
        *,
        manifest: dict[str, Any] | None = None,
        received: str = "",
        expected: str = "",
        what_to_do: str = "",
    ) -> None:
        self.manifest = manifest
        super().__init__(problem, received=received, expected=expected, what_to_do=what_to_do)


class ObjectFailedError(WaitError):
    """The object that was waited for ended badly."""


class ObjectDeletedError(WaitError):
    """The object that was waited for was deleted, or another has its name now."""


class WaitTimeoutError(WaitError):
    """The time to wait is over."""


class ResourceError(RunError):
    """The machine refuses: a port in use, a full disk, a missing permission."""


class TakenOverError(ResourceError):
    """Another attempt at the same work has begun, and what this one does counts no more."""
