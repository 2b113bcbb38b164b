"""What is still waited for, and what each thing that is heard of it means."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from stepworks.errors import (
    NotFoundError,
    ObjectDeletedError,
    ObjectFailedError,
    StepworksError,
    WaitStoppedError,
    WaitTimeoutError,
)
from stepworks.kube.cluster import Cluster
from stepworks.kube.judgement import Failed, Pending, Rule, Succeeded
from stepworks.kube.manifests import Manifest
from stepworks.kube.readers import Told
from stepworks.kube.references import Reference, Selection, located
from stepworks.kube.watch import Change

CHECK_SECONDS = 15.0
"""How often the hook for checks is called while nothing changes."""

Hook = Callable[[Manifest, Pending], None]
"""Called with the object as it is and why it is still waited for; what it raises ends the wait for that object."""


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
        next_check: When the hook for checks is due although nothing changed.
        manifest: Its last state; empty until it is seen.
        pending: Why it is still waited for.
        changed: Whether it changed since the hooks were called.
        progressed: Whether the reason changed since then.
    """

    reference: Reference
    named: Reference
    uid: str
    next_check: float
    manifest: Manifest = field(default_factory=dict)
    pending: Pending = field(default_factory=lambda: Pending("it has not been seen yet"))
    changed: bool = False
    progressed: bool = False


class Waiting:
    """The objects that are still waited for.

    Args:
        cluster: Where.
        references: The objects.
        until: What success is, and what failure.
        timeout: How long at most, in seconds.
        uids: The uids of objects, where the caller knows them.

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
    ) -> None:
        self._clock = cluster.clock
        self._until = until
        self._timeout = timeout
        started = self._clock.now()
        self._deadline = started + timeout
        self.subjects: dict[Reference, Subject] = {}
        for each in references:
            reference = located(cluster, each)
            self.subjects[reference] = Subject(reference, each, uids.get(each, ""), started + CHECK_SECONDS)

    def hear(self, told: Told) -> Iterator[Outcome]:
        """Take in what a reader told."""
        change = told.change
        if isinstance(change, StepworksError):
            for key in self._of(told.selection):
                yield self._end(key, change)
        elif isinstance(change, Exception):
            raise change
        elif change.kind == "listed":
            for key in self._of(told.selection):
                if not self.subjects[key].manifest:
                    yield from self._absent(key)
        else:
            where = told.selection
            key = Reference(where.api_version, where.kind, change.manifest["metadata"]["name"], where.namespace)
            if key in self.subjects:
                yield from self._changed(key, change)

    def call(self, on_change: Hook | None, while_waiting: Hook | None) -> Iterator[Outcome]:
        """Call the hooks that are due."""
        now = self._clock.now()
        for key, subject in list(self.subjects.items()):
            if not subject.manifest or not (subject.changed or now >= subject.next_check):
                continue
            hooks = [on_change] if subject.progressed else []
            hooks.append(while_waiting)
            subject.changed = subject.progressed = False
            subject.next_check = now + CHECK_SECONDS
            try:
                for hook in hooks:
                    if hook:
                        hook(subject.manifest, subject.pending)
            except StepworksError as error:
                yield self._end(key, error)

    def overdue(self, troubles: Iterable[tuple[Selection, Exception | None]]) -> Iterator[Outcome]:
        """End what is waited for still, if the time is over.

        Args:
            troubles: Each selection that is watched, and why the API server says nothing of it at present.
        """
        if self._clock.now() < self._deadline:
            return
        for selection, trouble in troubles:
            for key in self._of(selection):
                yield self._end(key, self._timed_out(self.subjects[key], trouble))

    def stopped(self) -> WaitStoppedError:
        """The error of a wait that was told to stop."""
        first = next(iter(self.subjects.values()))
        more = f" and {len(self.subjects) - 1} others" if len(self.subjects) > 1 else ""
        return WaitStoppedError(
            f"The wait for the {first.reference}{more} to be {self._until.goal} was stopped",
            manifest=first.manifest or None,
            received=first.pending.reason,
            expected="time until it ends",
            what_to_do="Start the step again; it takes up what it finds.",
        )

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
            subject.progressed |= judgement != subject.pending
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
        silent = f"; the API server did not answer at the end ({type(trouble).__name__})" if trouble else ""
        return WaitTimeoutError(
            f"The {subject.reference} was not {self._until.goal} after {self._timeout:g} seconds",
            manifest=subject.manifest or None,
            received=subject.pending.reason + silent,
            expected=f"a {subject.reference.kind} that is {self._until.goal}",
            what_to_do=f"See what keeps it, or allow more time: {subject.reference.kubectl('describe')}",
        )
