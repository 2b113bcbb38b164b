"""From making the object of a run to its end, with nothing held afterwards."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Literal

from stepworks.errors import ClusterError, ObjectFailedError, StepworksError
from stepworks.kube.adoption import make_or_adopt
from stepworks.kube.cluster import Cluster
from stepworks.kube.interrupts import cleaning_up_at_signals
from stepworks.kube.judgement import Pending, Rule
from stepworks.kube.objects import find
from stepworks.kube.references import Manifest, Reference, reference_to
from stepworks.kube.runs import belonging_to, run_of
from stepworks.kube.suspension import let_go
from stepworks.kube.wait import wait

SCHEDULING_SECONDS = 1800.0
"""How long an object may wait for room in the cluster, unless the caller says otherwise."""


def run_to_end(
    cluster: Cluster,
    manifest: Manifest,
    *,
    run: str,
    until: Rule,
    timeout: float,
    on_failure: Literal["suspend", "delete"],
    scheduling_timeout: float = SCHEDULING_SECONDS,
    say: Callable[[str], None] = print,
) -> Manifest:
    """Make the object of a run, or adopt the one that an earlier attempt made, and wait until it succeeds.

    Args:
        cluster: Where.
        manifest: The object. Its name must come from the run and the step, not from the attempt: by name and label a
            retried step knows what its earlier attempt made.
        run: The run's id.
        until: What success is, and what failure.
        timeout: How long this attempt waits at most, in seconds.
        on_failure: What becomes of the object when it does not succeed.
        scheduling_timeout: How long it may wait for room in the cluster, in seconds.
        say: Is told each line of progress.

    Returns:
        The object in which success was seen.

    Raises:
        ClusterError: It did not succeed.
    """
    made = belonging_to(cluster, manifest, run)
    held = _Held(cluster, made, run, on_failure, say)
    deadline = cluster.clock.now() + timeout
    with cleaning_up_at_signals(held.let_go):
        try:
            held.begin()
            present = make_or_adopt(cluster, made, run=run, until=until, timeout=timeout, say=say)
            held.uid = str(present["metadata"]["uid"])
            return wait(
                cluster,
                reference_to(made),
                until=until,
                timeout=max(0.0, deadline - cluster.clock.now()),
                uid=held.uid,
                on_change=lambda _, pending: say(pending.reason),
            )
        except BaseException:
            held.let_go()
            raise
