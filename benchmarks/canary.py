"""`make bench-canary`: how soon a worse candidate is found, and how often one that is no worse, beside a threshold.

Both look at the same made-up streams, a thousand an hour long for each row, at 10 requests a second in windows of a
minute. The fixed threshold is the rule that canary controllers have out of the box: the share of the candidate's
requests that are bad is above a limit in five windows. Its limit is 1 % for errors, and half as much again as usual for
slow requests. Our judge is the one of `JudgeSettings()`, with a third of its alpha for the metric; beside it is the
same evidence with the guard of leaving out the two windows that say most, in place of limiting each window.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.canary_streams import (
    NEVER,
    Counts,
    Shares,
    Streams,
    bursts,
    fixed_threshold,
    incident,
    judged,
    proven,
    slow_share,
    streams,
)
from stepworks.serving.judging.settings import JudgeSettings, LatencyRule, MetricRule

PERCENTS = (5, 10, 20, 50)
USUAL, SLOW = 0.005, 0.1
ERRORS, LATENCY = MetricRule(), LatencyRule()
FAILURES = 5
LIMITS = {MetricRule: 0.01, LatencyRule: 0.15}


def main() -> None:
    """Print a table of what is found wrongly, one of what is found rightly, and one of promotions."""
    random = np.random.default_rng(20261128)
    _no_worse(random)
    _worse(random)
    _promoted(random)


def _ours(found: Streams, rule: MetricRule) -> Counts:
    return judged(found, JudgeSettings(), rule)


def _dropping(found: Streams, rule: MetricRule) -> Counts:
    return judged(found, JudgeSettings(window_weight=1.0, dropped_windows=2), rule)


def _threshold(found: Streams, rule: MetricRule) -> Counts:
    return fixed_threshold(found, limit=LIMITS[type(rule)], failures=FAILURES)


RULES = {"ours": _ours, "dropping two windows": _dropping, "threshold": _threshold}


def _no_worse(random: np.random.Generator) -> None:
    """How often a version that is no worse is rolled back."""
    _head("a version no worse, rolled back within an hour", *(f"{percent} %" for percent in PERCENTS))
    cases: dict[str, tuple[Callable[[], float | Shares], MetricRule]] = {
        "0.5 % errors": (lambda: USUAL, ERRORS),
        "0.5 % errors, an incident of both": (lambda: incident(USUAL), ERRORS),
        "0.5 % errors, bursts of one arm": (lambda: bursts(USUAL, random=random), ERRORS),
        "2 % errors": (lambda: 0.02, ERRORS),
        "as fast": (lambda: SLOW, LATENCY),
    }
    for name, (share, rule) in cases.items():
        found = [streams(share(), share(), percent=percent, random=random) for percent in PERCENTS]
        for label, judge in RULES.items():
            _row(f"{name}: {label}", *(f"{np.mean(judge(each, rule) != NEVER):.1%}" for each in found))


def _worse(random: np.random.Generator) -> None:
    """How soon a worse version is found: in which share of the hours, after how many requests and seconds."""
    _head("a worse version: found, requests, seconds", *(f"{percent} %" for percent in PERCENTS))
    for name, bad, usual, rule in (
        ("every request fails", 1.0, USUAL, ERRORS),
        ("5 points more errors", USUAL + 0.05, USUAL, ERRORS),
        ("2 points more errors", USUAL + 0.02, USUAL, ERRORS),
        ("30 % slower", slow_share(1.3), SLOW, LATENCY),
    ):
        found = [streams(bad, usual, percent=percent, random=random) for percent in PERCENTS]
        for label, judge in RULES.items():
            _row(f"{name}: {label}", *(_found(each, judge(each, rule)) for each in found))


def _promoted(random: np.random.Generator) -> None:
    """How soon the margin is proven."""
    _head("margin proven: found, requests, seconds", *(f"{percent} %" for percent in PERCENTS))
    for name, bad, usual, rule in (
        ("as good, 0.5 % errors", USUAL, USUAL, ERRORS),
        ("as good, 2 % errors", 0.02, 0.02, ERRORS),
        ("as fast", SLOW, SLOW, LATENCY),
        ("2 points more errors", USUAL + 0.02, USUAL, ERRORS),
    ):
        found = [streams(bad, usual, percent=percent, random=random) for percent in PERCENTS]
        _row(name, *(_found(each, proven(each, JudgeSettings(), rule)) for each in found))


def _head(*cells: str) -> None:
    print()
    _row(*cells)
    _row(*("---" for _ in cells))


def _row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


def _found(stream: Streams, ended: Counts) -> str:
    """In which share of the streams, and where: the medians of the candidate's requests and of the seconds."""
    in_time = ended != NEVER
    if not in_time.any():
        return "0 %"
    requests = stream.candidate.cumsum(axis=1)[in_time, ended[in_time] - 1]
    return f"{np.mean(in_time):.1%}, {np.median(requests):,.0f}, {np.median(ended[in_time]) * stream.seconds:,.0f} s"


if __name__ == "__main__":
    main()
