"""From making the object of a run to its end, with nothing held afterwards.

On success the object has ended by itself. On an error, and within a second of SIGTERM or SIGINT, it is suspended or
deleted with one request. A step that is killed by SIGKILL leaves the object at work; its next attempt, which finds it
by its name and its run's label, goes on waiting for it. One that was suspended by us is resumed; one that failed in the
meantime for a reason that passes is made anew.

A failure that another attempt would only repeat is noted at the object, which stays, and the next attempt raises it at
once; see `stepworks.kube.runs.retry_marker`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

from stepworks.errors import ObjectFailedError, WaitTimeoutError, WorkloadFailedError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.references import Reference, reference_to
from stepworks.kube.diagnosis.diagnose import diagnose
from stepworks.kube.diagnosis.obstacle_check import ObstacleCheck
from stepworks.kube.kinds.judgement import Pending, Rule
from stepworks.kube.kinds.manifests import Manifest
from stepworks.kube.kinds.queues import held_by
from stepworks.kube.runs.adoption import Adoption, Ending
from stepworks.kube.runs.belonging import belonging_to
from stepworks.kube.runs.hold import Hold
from stepworks.kube.runs.interrupts import Interruption, cleaning_up_at_signals
from stepworks.kube.runs.suspension import check_may_let_go
from stepworks.kube.waiting.wait import wait

STEP_SETTING = "scheduling_timeout_seconds"
"""How the steps that make jobs call the time that one may wait for room."""
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
    scheduling_setting: str = "",
    before_making: Callable[[], None] | None = None,
    say: Callable[[str], None] = print,
) -> Manifest:
    """Make the object of a run, or adopt the one that an earlier attempt made, and wait until it succeeds.

    Args:
        cluster: Where.
        manifest: The object. Its name must come from the run and the step, not from the attempt.
        run: The run's id.
        until: What success is, and what failure.
        timeout: How long to wait for its end at most, in seconds; while a queue holds it back does not count.
        on_failure: What becomes of the object when it does not succeed. One that cannot be suspended is deleted.
        scheduling_timeout: How long it may wait for room, in seconds: for nodes, quota, volumes and its queue.
        scheduling_setting: What a reader raises so that it may wait longer for room; empty where nothing is.
        before_making: Called each time before the object is made; not where one is adopted.
        say: Is told each line of progress.

    Returns:
        The object in which success was seen.

    Raises:
        ConfigurationError: The name or the run's id is not valid.
        AlreadyExistsError: An object of that name is not of this run; nothing was changed.
        AdmissionError: The cluster does not take the object.
        AccessDeniedError: A permission is missing to watch it; or to make it or let go of it, and nothing was made.
        WorkloadFailedError: It failed, cannot go on, or did not end in time; it says why.
        ObjectDeletedError: Somebody deleted it.
        ClusterError: The API server fails or does not answer.
        SystemExit: SIGTERM came.
    """
    made = belonging_to(cluster, manifest, run)
    reference = reference_to(made)
    check_may_let_go(cluster, made, how=on_failure)
    ending = Ending(until, partial(_explain, cluster, reference))
    adoption = Adoption(cluster, made, say=say, ending=ending, before_making=before_making)
    hold = Hold(cluster, made, on_failure, say)
    with cleaning_up_at_signals(hold.let_go) as interruption:
        try:
            hold.take(present := adoption.make_or_adopt())
            check = ObstacleCheck(cluster, reference, scheduling_timeout, say, scheduling_setting)
            look = partial(_look, interruption, hold, check)
            uid = str(present["metadata"]["uid"])
            return wait(cluster, reference, until=until, timeout=timeout, uid=uid, while_waiting=look, held=held_by)
        except BaseException as error:
            explained = error
            try:
                explained = _explained(cluster, reference, error)  # first: the logs are gone once pods are suspended
            finally:
                if not interruption.came:  # then another thread lets go
                    hold.let_go(explained)
            if explained is error:
                raise
            raise explained from error


def _explained(cluster: Cluster, reference: Reference, error: BaseException) -> BaseException:
    if isinstance(error, ObjectFailedError | WaitTimeoutError):
        return diagnose(cluster, reference, error).error()
    return error


def _explain(cluster: Cluster, reference: Reference, present: Manifest, reason: str) -> WorkloadFailedError:
    failed = ObjectFailedError(f"The {reference} failed", manifest=present, received=reason)
    return diagnose(cluster, reference, failed).error()


def _look(interruption: Interruption, hold: Hold, check: ObstacleCheck, present: Manifest, pending: Pending) -> None:
    interruption.check()
    hold.take_back(present)
    check(present, pending)
