"""`make bench-canary`: how soon a worse candidate is found, and how often one that is no worse, beside a threshold.

Both look at the same made-up streams, a thousand an hour long for each row, at 10 requests a second in windows of a
minute. The fixed threshold is the rule that canary controllers have out of the box: the share of the candidate's
requests that are bad is above a limit in five windows. Its limit is 1 % for errors, and half as much again as usual for
slow requests. Our judge is the one of `JudgeSettings()`, with a third of its alpha for the metric.
"""

from __future__ import annotations

import sys

import numpy as np

from benchmarks.canary_streams import (
    NEVER,
    Counts,
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
FAILURES = 5
ERROR_LIMIT, SLOW_LIMIT = 0.01, 0.15


def main() -> None:
    """Print a table of what is found wrongly, one of what is found rightly, and one of promotions."""
    settings = JudgeSettings()
    errors, latency = MetricRule(), LatencyRule()
    random = np.random.default_rng(20261128)
    print("| a version no worse, rolled back within an hour | " + " | ".join(f"{share} %" for share in PERCENTS) + " |")
    print("| --- " * (len(PERCENTS) + 1) + "|")
    for name, make in {
        "0.5 % errors": lambda: (USUAL, USUAL),
        "0.5 % errors, an incident of both": lambda: (incident(USUAL), incident(USUAL)),
        "0.5 % errors, bursts of one arm": lambda: (bursts(USUAL, random=random), bursts(USUAL, random=random)),
        "2 % errors": lambda: (0.02, 0.02),
    }.items():
        found = [streams(*make(), percent=percent, random=random) for percent in PERCENTS]
        _rates(f"{name}: ours", [judged(each, settings, errors) for each in found])
        _rates(f"{name}: threshold", [_threshold(each, ERROR_LIMIT) for each in found])
    found = [streams(SLOW, SLOW, percent=percent, random=random) for percent in PERCENTS]
    _rates("latency: ours", [judged(each, settings, latency) for each in found])
    _rates("latency: threshold", [_threshold(each, SLOW_LIMIT) for each in found])
    print()
    print("| a worse version | traffic | ours: found, requests, seconds | threshold: found, requests, seconds |")
    print("| --- | --- | --- | --- |")
    for name, bad, rule, usual, limit in (
        ("every request fails", 1.0, errors, USUAL, ERROR_LIMIT),
        ("5 points more errors", USUAL + 0.05, errors, USUAL, ERROR_LIMIT),
        ("2 points more errors", USUAL + 0.02, errors, USUAL, ERROR_LIMIT),
        ("30 % slower", slow_share(1.3), latency, SLOW, SLOW_LIMIT),
    ):
        for percent in PERCENTS:
            stream = streams(bad, usual, percent=percent, random=random)
            ours, theirs = judged(stream, settings, rule), _threshold(stream, limit)
            print(f"| {name} | {percent} % | {_found(stream, ours)} | {_found(stream, theirs)} |")
    print()
    print("| margin proven, requests, seconds | " + " | ".join(f"{share} %" for share in PERCENTS) + " |")
    print("| --- " * (len(PERCENTS) + 1) + "|")
    for name, bad, usual, rule in (
        ("as good, 0.5 % errors", USUAL, USUAL, errors),
        ("as good, 2 % errors", 0.02, 0.02, errors),
        ("as fast", SLOW, SLOW, latency),
        ("2 points more errors", USUAL + 0.02, USUAL, errors),
    ):
        cells = []
        for percent in PERCENTS:
            stream = streams(bad, usual, percent=percent, random=random)
            cells.append(_found(stream, proven(stream, settings, rule)))
        print(f"| {name} | " + " | ".join(cells) + " |")
    sys.stdout.flush()


def _threshold(found: Streams, limit: float) -> Counts:
    return fixed_threshold(found, limit=limit, failures=FAILURES)


def _rates(name: str, ended: list[Counts]) -> None:
    print(f"| {name} | " + " | ".join(f"{np.mean(each != NEVER):.1%}" for each in ended) + " |")


def _found(stream: Streams, ended: Counts) -> str:
    """In which share of the streams, and where: the medians of the candidate's requests and of the seconds."""
    in_time = ended != NEVER
    if not in_time.any():
        return "0 %"
    requests = stream.candidate.cumsum(axis=1)[in_time, ended[in_time] - 1]
    return f"{np.mean(in_time):.1%}, {np.median(requests):,.0f}, {np.median(ended[in_time]) * stream.seconds:,.0f} s"


if __name__ == "__main__":
    main()
