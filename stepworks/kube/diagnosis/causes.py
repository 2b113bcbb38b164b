"""The table of causes: which of them a diagnosis tries, in which order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from stepworks.kube.diagnosis.ends import (
    judge_crash_loop,
    judge_deadline,
    judge_end,
    judge_missing_command,
    judge_model,
    judge_policy,
)
from stepworks.kube.diagnosis.facts import Facts
from stepworks.kube.diagnosis.fallbacks import judge_condition, judge_nothing, judge_running, judge_unready
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


OBSTACLES: tuple[Judge, ...] = (
    judge_queue,
    judge_image,
    judge_configuration,
    judge_creation,
    judge_refusal,
    judge_volume,
    judge_scheduling,
    judge_crash_loop,
    judge_missing_command,
)
"""What keeps an object from beginning."""
_FAILED: tuple[Judge, ...] = (
    judge_refusal,
    judge_deadline,
    judge_end,
    *OBSTACLES,
    judge_policy,
    judge_model,
    judge_condition,
)
_NOT_YET: tuple[Judge, ...] = (judge_deletion, *OBSTACLES, judge_end, judge_unready, judge_running)


def judge(facts: Facts) -> Finding:
    """Find the cause: of an object that failed in its end first, of one that did not in what keeps it."""
    if facts.failed:
        return _first(_FAILED, facts) or judge_nothing(facts)
    found = _first(_NOT_YET, facts) or judge_nothing(facts)
    # A pod that failed may have been replaced by one that gets on, as long as the object itself has not failed.
    return replace(found, permanent=False) if found.container and found.container.failed else found


def judge_obstacles(facts: Facts) -> Finding | None:
    """Find what keeps an object from beginning; None if nothing does."""
    return _first(OBSTACLES, facts)


def _first(judges: tuple[Judge, ...], facts: Facts) -> Finding | None:
    return next((found for judge in judges if (found := judge(facts))), None)
