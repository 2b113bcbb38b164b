"""The table of causes: which of them a diagnosis tries, in which order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from stepworks.kube.diagnosis.ends import judge_end
from stepworks.kube.diagnosis.facts import Facts
from stepworks.kube.diagnosis.finding import Finding
from stepworks.kube.diagnosis.obstacles import (
    judge_configuration,
    judge_creation,
    judge_deletion,
    judge_image,
    judge_queue,
    judge_refusal,
    judge_scheduling,
    judge_volume,
)

Judge = Callable[[Facts], Finding | None]
"""Finds a cause in the facts, or None if it is not that."""


def _judge_deadline(facts: Facts) -> Finding | None:
    if not facts.failed or "DeadlineExceeded" not in facts.reasons:
        return None
    return Finding(
        "deadline-exceeded",
        "it did not end within its activeDeadlineSeconds, the time to wait for a node included",
        "Allow more time, or start the step again if it goes on where it stopped.",
    )


def _judge_policy(facts: Facts) -> Finding | None:
    if "PodFailurePolicy" not in facts.reasons:
        return None
    return Finding(
        "program-failed",
        f"its program ended in a way that its podFailurePolicy takes for final: {facts.ended}",
        "Read the log of the pod that the message names, and correct the program or its arguments.",
        permanent=True,
    )


def _judge_model(facts: Facts) -> Finding | None:
    if not facts.ended.startswith("InvalidSpec"):
        return None
    return Finding(
        "spec-invalid",
        f"KServe cannot serve what it asks for ({facts.ended})",
        "Correct the model format, or name a runtime that is there: "
        f"{facts.kubectl('get', 'clusterservingruntimes,servingruntimes')}",
        permanent=True,
    )


def _judge_condition(facts: Facts) -> Finding | None:
    if not facts.failed:
        return None
    return Finding(
        "unknown",
        f"{facts.ended or 'it says no more'}; none of its pods says why",
        f"See what its controller says: {facts.reference.kubectl('describe')}",
    )


def _judge_running(facts: Facts) -> Finding | None:
    running = [pod for pod in facts.pods if pod.phase == "Running"]
    if not running or len(running) < len(facts.pods):
        return None
    return Finding(
        "still-running",
        f"its {'pod runs' if len(running) == 1 else f'{len(running)} pods run'} still",
        "Allow more time, if the last lines of its log show that it gets on; otherwise find out what it waits for.",
        pod=running[0],
    )


def _judge_nothing(facts: Facts) -> Finding:
    return Finding(
        "unknown",
        "there are no pods of it" if facts.chain and not facts.pods else facts.ended or "nothing says why",
        f"See what its controller says: {facts.reference.kubectl('describe')}",
    )


OBSTACLES: tuple[Judge, ...] = (
    judge_queue,
    judge_image,
    judge_configuration,
    judge_creation,
    judge_refusal,
    judge_volume,
    judge_scheduling,
)
"""What keeps an object from beginning."""
_FAILED: tuple[Judge, ...] = (
    judge_refusal,
    _judge_deadline,
    judge_end,
    *OBSTACLES,
    _judge_policy,
    _judge_model,
    _judge_condition,
)
_NOT_YET: tuple[Judge, ...] = (judge_deletion, *OBSTACLES, judge_end, _judge_running)


def judge(facts: Facts) -> Finding:
    """Find the cause: of an object that failed in its end first, of one that did not in what keeps it."""
    if facts.failed:
        return _first(_FAILED, facts) or _judge_nothing(facts)
    found = _first(_NOT_YET, facts) or _judge_nothing(facts)
    # A pod that failed may have been replaced by one that gets on, as long as the object itself has not failed.
    return replace(found, permanent=False) if found.container and found.container.failed else found


def judge_obstacles(facts: Facts) -> Finding | None:
    """Find what keeps an object from beginning; None if nothing does."""
    return _first(OBSTACLES, facts)


def _first(judges: tuple[Judge, ...], facts: Facts) -> Finding | None:
    return next((found for judge in judges if (found := judge(facts))), None)
