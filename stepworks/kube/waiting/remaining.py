"""What is still waited for, and what each thing that is heard of it means."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from stepworks.errors import (
    AccessDeniedError,
    NotFoundError,
    ObjectDeletedError,
    ObjectFailedError,
    StepworksError,
    WaitTimeoutError,
)
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import find
from stepworks.kube.api.references import Reference, Selection, located
from stepworks.kube.kinds.judgement import Failed, Pending, Rule, Succeeded
from stepworks.kube.kinds.manifests import Manifest
from stepworks.kube.waiting.watch import Change
from stepworks.kube.waiting.watchers import Notice

CHECK_SECONDS = 15.0
"""How often the hook for checks is called while nothing changes."""

Hook = Callable[[Manifest, Pending], None]
"""Called with the object as it is and why it is still waited for; what it raises ends the wait for that object."""

Held = Callable[[Manifest], object]
"""Says whether an object is held back, so that its time does not count."""

_LAST_LOOK_SECONDS = 5.0
"""How long to try, all requests together, to read the objects whose time is over once more."""


@dataclass(frozen=True)
class Outcome:
    """How the wait for one of several objects ended.

    Attributes:
        reference: Which object, as the caller named it.
        manifest: The object in which success was seen, or its last state; empty if it was never seen.
        error: Why it did not succeed; None if it did.
    """

    reference: Reference
    manifest: Manifest
    error: StepworksError | None = None


@dataclass
class Subject:
    """An object that is waited for.

    Attributes:
        reference: Which, with its namespace.
        named: How the caller named it.
        uid: Its uid, once it is known.
        deadline: When its time is over.
        next_check: When the hook for checks is due although nothing changed.
        manifest: Its last state; empty until it is seen.
        pending: Why it is still waited for.
        changed: Whether it changed since the hook was called.
    """

    reference: Reference
    named: Reference
    uid: str
    deadline: float
    next_check: float
    manifest: Manifest = field(default_factory=dict)
    pending: Pending = field(default_factory=lambda: Pending("it has not been seen yet"))
    changed: bool = False


class Waiting:
    """The objects that are still waited for.

    Args:
        cluster: Where.
        references: The objects.
        until: What success is, and what failure.
        timeout: How long at most, in seconds.
        uids: The uids of objects, where the caller knows them.
        held: Tells of an object whether it is held back; its time begins anew when it is let go.

    Attributes:
        subjects: Each object by its reference, with its namespace filled in.
    """

    def __init__(
        self,
        cluster: Cluster,
        references: Iterable[Reference],
        until: Rule,
        timeout: float,
        uids: Mapping[Reference, str],
        held: Held | None = None,
    ) -> None:
        self._cluster = cluster
        self._clock = cluster.clock
        self._until = until
        self._timeout = timeout
        self._held = held
        now = self._clock.now()
        self.subjects: dict[Reference, Subject] = {}
        for each in references:
            reference = located(cluster, each)
            self.subjects[reference] = Subject(reference, each, uids.get(each, ""), now + timeout, now + CHECK_SECONDS)

    def hear(self, notice: Notice) -> Iterator[Outcome]:
        """Take in what a watcher told."""
        change = notice.change
        if isinstance(change, StepworksError):
            for key in self._of(notice.selection):
                yield self._end(key, change)
        elif isinstance(change, Exception):
            raise change
        elif change.kind == "listed":
            for key in self._of(notice.selection):
                if not self.subjects[key].manifest:
                    yield from self._absent(key)
        else:
            where = notice.selection
            key = Reference(where.api_version, where.kind, change.manifest["metadata"]["name"], where.namespace)
            if key in self.subjects:
                yield from self._changed(key, change)

    def call(self, while_waiting: Hook) -> Iterator[Outcome]:
        """Call the hook for each object that changed, and for the others when it is due."""
        now = self._clock.now()
        for key, subject in list(self.subjects.items()):
            if not subject.manifest or not (subject.changed or now >= subject.next_check):
                continue
            subject.changed = False
            subject.next_check = now + CHECK_SECONDS
            try:
                while_waiting(subject.manifest, subject.pending)
            except StepworksError as error:
                yield self._end(key, error)

    def overdue(self, troubles: Iterable[tuple[Selection, Exception | None]]) -> Iterator[Outcome]:
        """End what is waited for still and whose time is over, unless a last look shows that it has ended.

        Args:
            troubles: Each selection that is watched, and why the API server says nothing of it at present.
        """
        now = self._clock.now()
        cluster = replace(self._cluster, give_up_at=now + _LAST_LOOK_SECONDS)
        for selection, trouble in troubles:
            for key in self._of(selection):
                subject = self.subjects[key]
                if self._held and subject.manifest and self._held(subject.manifest):
                    subject.deadline = now + self._timeout
                if now >= subject.deadline:
                    yield from self._look_once_more(cluster, key, trouble)

    def _look_once_more(self, cluster: Cluster, key: Reference, trouble: Exception | None) -> Iterator[Outcome]:
        try:
            present = find(cluster, key)
        except AccessDeniedError:
            pass
        except StepworksError as error:
            trouble = trouble or error
        else:
            trouble = None
            yield from self._absent(key) if present is None else self._changed(key, Change("present", present))
        if key in self.subjects:
            yield self._end(key, self._timed_out(self.subjects[key], trouble))

    def _of(self, selection: Selection) -> list[Reference]:
        group = (selection.api_version, selection.kind, selection.namespace)
        return [key for key in self.subjects if (key.api_version, key.kind, key.namespace) == group]

    def _changed(self, key: Reference, change: Change) -> Iterator[Outcome]:
        subject, manifest = self.subjects[key], change.manifest
        uid = manifest["metadata"]["uid"]
        if subject.uid and uid != subject.uid:
            if change.kind == "present":  # then the one that is meant is not
                yield from self._absent(key, successor=uid)
            return
        subject.uid, subject.changed = uid, True
        judgement = self._until.judge(manifest)
        if change.kind == "deleted" and isinstance(judgement, Pending):
            yield from self._absent(key)
            return
        subject.manifest = manifest
        if isinstance(judgement, Succeeded):
            yield self._end(key)
        elif isinstance(judgement, Failed):
            yield self._end(key, self._failed(subject, judgement))
        elif manifest["metadata"].get("deletionTimestamp") and not self._until.absence_succeeds:
            yield from self._absent(key)
        else:
            subject.pending = judgement

    def _absent(self, key: Reference, successor: str = "") -> Iterator[Outcome]:
        subject = self.subjects[key]
        if self._until.absence_succeeds:
            yield self._end(key)
        elif subject.uid:
            yield self._end(key, self._deleted(subject, successor))
        else:
            yield self._end(key, self._missing(subject))

    def _end(self, key: Reference, error: StepworksError | None = None) -> Outcome:
        subject = self.subjects.pop(key)
        return Outcome(subject.named, subject.manifest, error)

    def _failed(self, subject: Subject, judgement: Failed) -> ObjectFailedError:
        return ObjectFailedError(
            f"The {subject.reference} failed",
            manifest=subject.manifest,
            received=judgement.reason,
            expected=f"a {subject.reference.kind} that comes to be {self._until.goal}",
            what_to_do=f"Read the logs and events of its pods: {subject.reference.kubectl('describe')}",
        )

    def _deleted(self, subject: Subject, successor: str) -> ObjectDeletedError:
        return ObjectDeletedError(
            f"The {subject.reference} was deleted while it was waited for",
            manifest=subject.manifest or None,
            received=f"another object of that name, uid {successor}, in the place of the uid {subject.uid}"
            if successor
            else f"before it was {self._until.goal}: {subject.pending.reason}",
            expected=f"the {subject.reference.kind} to stay until it is {self._until.goal}",
            what_to_do="Find out who deleted it (somebody by hand, a TTL, a quota's owner), and start the step again.",
        )

    def _missing(self, subject: Subject) -> NotFoundError:
        return NotFoundError(
            f"There is no {subject.reference}",
            received=f"no {subject.reference.kind} of that name"
            + (f" in the namespace {subject.reference.namespace}" if subject.reference.namespace else ""),
            expected=f"one that comes to be {self._until.goal}",
            what_to_do="Correct the name or the namespace, or create the object before it is waited for.",
        )

    def _timed_out(self, subject: Subject, trouble: Exception | None) -> WaitTimeoutError:
        cause = trouble and (trouble.__cause__ or trouble)
        silent = f"; the API server did not answer at the end ({type(cause).__name__})" if cause else ""
        return WaitTimeoutError(
            f"The {subject.reference} was not {self._until.goal} after {self._timeout:g} seconds{silent}",
            manifest=subject.manifest or None,
            received=subject.pending.reason,
            expected=f"a {subject.reference.kind} that is {self._until.goal}",
            what_to_do=f"See what keeps it, or allow more time: {subject.reference.kubectl('describe')}",
        )
