"""From making the object of a run to its end, with nothing held afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from stepworks.errors import WorkloadFailedError
from stepworks.kube.adoption import Adoption
from stepworks.kube.cluster import Cluster
from stepworks.kube.hold import Hold
from stepworks.kube.interrupts import cleaning_up_at_signals
from stepworks.kube.judgement import Rule
from stepworks.kube.references import Manifest, reference_to
from stepworks.kube.runs import belonging_to
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
        AlreadyExistsError: An object of that name is not of this run; nothing was changed.
        ClusterError: It did not succeed.
    """
    made = belonging_to(cluster, manifest, run)
    reference = reference_to(made)
    hold = Hold(cluster, made, on_failure, say)
    deadline = cluster.clock.now() + timeout

    def explain(present: Manifest, reason: str) -> WorkloadFailedError:
        return WorkloadFailedError(
            f"The {reference} failed",
            received=reason,
            cause="unknown",
            permanent=False,
            kind=reference.kind,
            name=reference.name,
        )

    with cleaning_up_at_signals(hold.let_go):
        try:
            adoption = Adoption(cluster, made, until=until, timeout=timeout, explain=explain, say=say)
            hold.uid = str(adoption.make_or_adopt()["metadata"]["uid"])
            return wait(
                cluster,
                reference,
                until=until,
                timeout=max(0.0, deadline - cluster.clock.now()),
                uid=hold.uid,
                on_change=lambda _, pending: say(f"The {reference}: {pending.reason}"),
            )
        except BaseException as error:
            hold.let_go(error)
            raise
