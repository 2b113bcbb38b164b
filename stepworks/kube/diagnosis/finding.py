"""What a diagnosis finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stepworks.kube.diagnosis.facts import ContainerFacts, PodFacts

Cause = Literal[
    "command-missing",
    "configuration-missing",
    "container-refused",
    "crash-loop",
    "creation-failed",
    "deadline-exceeded",
    "deletion-blocked",
    "drained",
    "evicted",
    "gated",
    "image-missing",
    "image-name",
    "init-failed",
    "interrupted",
    "killed",
    "node-lost",
    "not-ready",
    "out-of-memory",
    "pod-refused",
    "preempted",
    "program-failed",
    "queued",
    "quota-exceeded",
    "refused",
    "registry-unreachable",
    "spec-invalid",
    "still-running",
    "terminated",
    "unknown",
    "unschedulable",
    "volume-unavailable",
    "webhook-unreachable",
]
"""Every cause; docs/reliability.md says of each whether another attempt helps."""

Tolerance = Literal["none", "soon", "room", "any"]
"""How long it makes sense to wait for the cause to go away by itself: not at all; a moment; as long as the object may
wait for room in the cluster; or as long as there is time."""


@dataclass(frozen=True)
class Finding:
    """Why an object failed or does not come about.

    Attributes:
        cause: The name of the cause, `out-of-memory`.
        problem: What happened, to go on after "The Job train failed: ".
        what_to_do: The next action of the reader.
        permanent: Whether another attempt would end the same way.
        tolerance: How long to wait for it to go away.
        pod: The pod that it is about; None if it is about none.
        container: The container of that pod; None if it is about none.
    """

    cause: Cause
    problem: str
    what_to_do: str
    permanent: bool = False
    tolerance: Tolerance = "any"
    pod: PodFacts | None = None
    container: ContainerFacts | None = None
