"""Waiting for objects: the only loop that does.

A wait watches; it does not poll. It ends by what the object says, by the object's end, by an error that another
attempt will not mend, or by its deadline.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from contextlib import closing

from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.references import Reference
from stepworks.kube.kinds.judgement import Rule
from stepworks.kube.kinds.manifests import Manifest
from stepworks.kube.waiting.remaining import Held, Hook, Outcome, Waiting
from stepworks.kube.waiting.watchers import Watchers

_TICK_SECONDS = 0.2
"""How soon a deadline is noticed; changes are noticed at once."""


def wait(
    cluster: Cluster,
    reference: Reference,
    *,
    until: Rule,
    timeout: float,
    uid: str = "",
    while_waiting: Hook | None = None,
    held: Held | None = None,
) -> Manifest:
    """Wait until an object succeeds.

    Args:
        cluster: Where.
        reference: The object.
        until: What success is, and what failure.
        timeout: How long at most, in seconds.
        uid: The uid of the object that is meant; without it, that of the first object of that name that is seen.
        while_waiting: Called when the object changes and every 15 seconds, to see whether an obstacle lasts too long.
        held: Tells of an object whether it is held back, as by a queue. While it is, its time does not count; the whole
            time begins when it is let go. Whoever gives this sees to it that nothing is held for ever.

    Returns:
        The object in which success was seen; of one that was waited for to be gone, its last state.

    Raises:
        ObjectFailedError: The object failed.
        ObjectDeletedError: The object was deleted, or there is another of its name.
        NotFoundError: There is no such object, kind or namespace.
        WaitTimeoutError: The time is over.
        AccessDeniedError: Listing or watching is not permitted.
        ClusterError: The API server takes no credentials, or refuses the watch. One that is away is waited for.
        Exception: What a hook raised.
    """
    outcomes = wait_all(
        cluster,
        [reference],
        until=until,
        timeout=timeout,
        uids={reference: uid},
        while_waiting=while_waiting,
        held=held,
    )
    with closing(outcomes):
        outcome = next(outcomes)
    if outcome.error:
        raise outcome.error
    return outcome.manifest


def wait_all(
    cluster: Cluster,
    references: Iterable[Reference],
    *,
    until: Rule,
    timeout: float,
    uids: Mapping[Reference, str] | None = None,
    while_waiting: Hook | None = None,
    held: Held | None = None,
) -> Generator[Outcome, None, None]:
    """Wait until each of several objects succeeds or fails, with one watch for all of a kind in a namespace.

    The arguments are those of `wait`. Close the iterator, or take all outcomes, to end the watches.

    Yields:
        The outcome of each object as it comes. A failure of one does not end the wait for the others; nor does an
        error of Stepworks' own that a hook raises for it.

    Raises:
        NotFoundError: The cluster does not know a kind.
        Exception: What a hook raised and is no error of Stepworks'.
    """
    waiting = Waiting(cluster, references, until, timeout, uids or {}, held)
    with Watchers(cluster, waiting.subjects) as watchers:
        while waiting.subjects:
            for notice in watchers.take(_TICK_SECONDS):
                yield from waiting.hear(notice)
            yield from waiting.overdue(watchers.troubles())
            if while_waiting:
                yield from waiting.call(while_waiting)
