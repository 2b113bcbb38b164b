"""What a diagnosis knows: plain data, so that every cause can be judged without a cluster."""

from __future__ import annotations

from dataclasses import dataclass

from stepworks.kube.api.commands import kubectl
from stepworks.kube.api.references import Reference


@dataclass(frozen=True)
class ContainerFacts:
    """A container of a pod.

    Attributes:
        name: Its name.
        init: Whether it is an init container.
        state: `waiting`, `running`, `terminated`, or empty if the kubelet has said nothing yet.
        reason: The reason of that state, `ImagePullBackOff`.
        message: Its message.
        exit_code: With what it ended, now or before its last restart; None if it has not ended.
        ended_reason: The reason of that end, `OOMKilled`.
        ended_message: The message of that end: why it could not be started, or what it left behind.
        ended_at: The time of that end; empty if there is none.
        restarts: How often it was started again.
    """

    name: str
    init: bool = False
    state: str = ""
    reason: str = ""
    message: str = ""
    exit_code: int | None = None
    ended_reason: str = ""
    ended_message: str = ""
    ended_at: str = ""
    restarts: int = 0

    @property
    def failed(self) -> bool:
        """Whether it ended badly, now or before its last restart."""
        return bool(self.exit_code) or self.ended_reason in ("OOMKilled", "StartError", "ContainerCannotRun")

    @property
    def log_is_of_before(self) -> bool:
        """Whether the log that tells of the end is that of before the last restart."""
        return self.state != "terminated"


@dataclass(frozen=True)
class PodFacts:
    """A pod.

    Attributes:
        name: Its name.
        phase: Its phase.
        reason: The reason of its phase, `Evicted`.
        message: The message of its phase.
        unready: Whether it runs and its probes say that it does not serve.
        node: Where it is; empty while the scheduler finds no node.
        rank: Which of its siblings it is, `index 0` or `worker 1`; empty if it is the only one.
        created: When it was made.
        waits_because: The reason why it is not scheduled, `Unschedulable`; empty if it is.
        scheduler: What the scheduler says of that.
        disruption: The reason of its condition DisruptionTarget, `PreemptionByScheduler`; empty if it has none.
        disruption_message: The message of that condition.
        disrupted_at: When that became true.
        asks_for: What it asks of a node: `nvidia.com/gpu: 8, gpu-type=h100`.
        containers: Its containers, the init containers first.
        hidden: Values in its specification that must not be shown.
    """

    name: str
    phase: str = ""
    reason: str = ""
    message: str = ""
    unready: bool = False
    node: str = ""
    rank: str = ""
    created: str = ""
    waits_because: str = ""
    scheduler: str = ""
    disruption: str = ""
    disruption_message: str = ""
    disrupted_at: str = ""
    asks_for: str = ""
    containers: tuple[ContainerFacts, ...] = ()
    hidden: tuple[str, ...] = ()

    @property
    def failed_container(self) -> ContainerFacts | None:
        """The container that ended badly first; None if none did."""
        failed = [each for each in self.containers if each.failed]
        return min(failed, key=lambda each: each.ended_at, default=None)

    @property
    def ended_badly(self) -> bool:
        """Whether it failed, was disrupted, or has a container that failed."""
        return self.phase == "Failed" or bool(self.disruption) or self.failed_container is not None

    @property
    def ended_at(self) -> str:
        """When the first bad thing happened to it."""
        container = self.failed_container
        times = [each for each in (container.ended_at if container else "", self.disrupted_at) if each]
        return min(times, default="")


@dataclass(frozen=True)
class EventFacts:
    """An event.

    Attributes:
        about: The object that it is about, `Job train`.
        reason: Its reason, `FailedCreate`.
        message: Its message.
        warning: Whether it is a warning.
        last: When it was last seen.
        count: How often it was seen.
    """

    about: str
    reason: str
    message: str
    warning: bool = True
    last: str = ""
    count: int = 1


@dataclass(frozen=True)
class ObjectFacts:
    """The object of the diagnosis, or one that it made.

    Attributes:
        kind: Its kind.
        name: Its name.
        conditions: Its conditions as `Failed (BackoffLimitExceeded): Job has reached …`, those that are true first.
        reasons: The reasons of its conditions that are true.
        lacks_pods: Whether fewer pods are there than it wants.
        queue: The queue of Kueue that holds it back; empty if none does.
        finalizers: What keeps it, if it is being deleted.
    """

    kind: str
    name: str
    conditions: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    lacks_pods: bool = False
    queue: str = ""
    finalizers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Facts:
    """All that a diagnosis knows.

    Attributes:
        reference: The object.
        lead: What happened, as far as whoever asks knows: `The Job train failed`.
        ended: What the object said then: `Failed (BackoffLimitExceeded): …`.
        failed: Whether the object itself says that it failed; otherwise it does not come about.
        chain: The object and what it made, the object first.
        pods: Their pods.
        events: What happened to them, the newest last.
        log: The last lines of the log of the pod that failed first.
        log_of: The pod and container of that log.
        unreadable: What could not be read, and why.
    """

    reference: Reference
    lead: str = ""
    ended: str = ""
    failed: bool = False
    chain: tuple[ObjectFacts, ...] = ()
    pods: tuple[PodFacts, ...] = ()
    events: tuple[EventFacts, ...] = ()
    log: str = ""
    log_of: str = ""
    unreadable: tuple[str, ...] = ()

    @property
    def reasons(self) -> frozenset[str]:
        """The reasons of all conditions that are true."""
        return frozenset(reason for each in self.chain for reason in each.reasons)

    @property
    def first_failed(self) -> PodFacts | None:
        """The pod whose failure the others followed.

        Of each rank the last pod counts, since those before it were replaced. Among these it is the one that ended
        first; of those that ended in the same second, one that ended by itself rather than by a signal.
        """
        latest: dict[str, PodFacts] = {}
        for pod in sorted((each for each in self.pods if each.ended_badly), key=lambda each: each.created):
            latest[pod.rank] = pod
        return min(latest.values(), key=lambda pod: (pod.ended_at or "~", _was_killed(pod), pod.rank), default=None)

    @property
    def stuck(self) -> tuple[PodFacts, ...]:
        """The pods that have not begun."""
        return tuple(pod for pod in self.pods if pod.phase in ("", "Pending") and not pod.disruption)

    def kubectl(self, *words: str) -> str:
        """A command about the object's namespace."""
        return kubectl(*words, namespace=self.reference.namespace)

    def events_with(self, *reasons: str) -> list[EventFacts]:
        """The events that have one of the reasons, the newest last."""
        return [each for each in self.events if each.reason in reasons]


def _was_killed(pod: PodFacts) -> bool:
    container = pod.failed_container
    return container is not None and container.exit_code in (137, 143) and container.ended_reason != "OOMKilled"
