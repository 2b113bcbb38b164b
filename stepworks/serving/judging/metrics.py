"""The metrics, each as bad events among requests."""

from __future__ import annotations

from collections.abc import Sequence

from stepworks.report.canary_document import CanaryArm, MetricName
from stepworks.serving.judging.bounds import Table
from stepworks.serving.judging.counts import NOTHING, Window, together
from stepworks.serving.judging.settings import JudgeSettings, LatencyRule

WORDS: dict[MetricName, tuple[str, str]] = {
    "errors": ("requests", "failed"),
    "latency": ("requests", "were slow"),
    "answers": ("probes", "were answered wrongly"),
}
"""What each metric counts, and what a bad one did."""


def tables(metric: MetricName, windows: Sequence[Window], settings: JudgeSettings) -> list[Table | None]:
    """One metric's requests and bad requests, window by window.

    A stable version that is not there has no requests. A window in which the metric cannot be told is None.
    """
    if metric == "latency":
        assert settings.latency is not None
        bounds = slow_bounds(windows, settings.latency)
        return [_slow(window, bound) for window, bound in zip(windows, bounds, strict=True)]
    return [_failed(window) if metric == "errors" else _wrong(window) for window in windows]


def slow_bounds(windows: Sequence[Window], rule: LatencyRule) -> list[float | None]:
    """Above how many milliseconds an answer is slow, window by window; None where latency is not judged.

    The bound of a window is made of the stable version's answers in all windows before, so what is judged has no part
    in it, and it is one of the histogram's own bounds, so the counts are exact. Without a stable version it is the
    rule's `limit_ms`.
    """
    bounds: list[float | None] = []
    before = NOTHING
    for window in windows:
        bounds.append(_slow_bound(window, before, rule))
        if window.stable is not None and not window.problem:
            before = together([before, window.stable])
    return bounds


def _slow_bound(window: Window, before: CanaryArm, rule: LatencyRule) -> float | None:
    if window.candidate.latency is None:
        return None
    wanted = rule.limit_ms
    if window.stable is not None:
        if before.latency is None or before.latency.total < rule.baseline_requests:
            return None
        kept = before.latency.bound_of(rule.quantile)
        wanted = None if kept is None else max(kept * rule.factor, rule.floor_ms)
    return next((bound for bound in window.candidate.latency.bounds_ms if wanted and bound >= wanted), None)


def _failed(window: Window) -> Table | None:
    if window.problem:
        return None
    stable = window.stable or NOTHING
    return Table(window.candidate.requests, window.candidate.errors, stable.requests, stable.errors)


def _wrong(window: Window) -> Table:
    # While requests cannot be counted, a probe that fails is told here, so that it is not overlooked.
    stable = window.stable or NOTHING
    bad = [each.wrong_answers + (each.errors if window.problem else 0) for each in (window.candidate, stable)]
    return Table(window.candidate.probes, bad[0], stable.probes, bad[1])


def _slow(window: Window, bound: float | None) -> Table | None:
    ours, theirs = window.candidate.latency, (window.stable or NOTHING).latency
    if bound is None or ours is None or window.problem or (theirs and theirs.bounds_ms != ours.bounds_ms):
        return None
    return Table(
        ours.total, ours.slower_than(bound), theirs.total if theirs else 0, theirs.slower_than(bound) if theirs else 0
    )
