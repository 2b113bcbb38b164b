"""Whether a plan of stages can reach a decision, told before a roll-out begins."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from stepworks.report.canary_document import MetricName
from stepworks.serving.judging.bounds import Table, difference_bound, pooled
from stepworks.serving.judging.metrics import WORDS
from stepworks.serving.judging.settings import JudgeSettings
from stepworks.serving.judging.verdict import Goal

_LONGEST = 1000.0
"""More times the stage's own time than this is told as never."""


@dataclass(frozen=True)
class Expectation:
    """What is expected of the traffic while a candidate is rolled out that is as good as the stable version.

    Attributes:
        requests_per_second: Of both versions together.
        probes_per_second: Those among them of which the right answer is known.
        errors: The share of requests that fail.
    """

    requests_per_second: float
    probes_per_second: float
    errors: float = 0.005


@dataclass(frozen=True)
class StageForecast:
    """How long a stage will take.

    Attributes:
        percent: The candidate's share.
        seconds: How long it takes to see what the stage asks for; infinite where it never does.
        candidate_requests: How many requests the candidate answers in that time.
        reachable: Whether that is within the time that a stage may take.
        statement: The same in a sentence, with what to do.
    """

    percent: int
    seconds: float
    candidate_requests: int
    reachable: bool
    statement: str


def forecast(
    goals: Mapping[int, Goal], expected: Expectation, stage_seconds: float, settings: JudgeSettings
) -> list[StageForecast]:
    """How long each stage takes to end well, at the traffic expected, for a candidate as good as the stable version.

    Args:
        goals: What each stage asks for, by the candidate's share in percent, beside a stable version.
        expected: The traffic.
        stage_seconds: How long a stage may take.
        settings: What the judge allows.
    """
    lasting: dict[int, float] = {}
    stages = []
    for percent, goal in goals.items():
        rate = expected.requests_per_second * percent / 100
        needed: dict[str, float] = {
            f"{goal.candidate_requests:,} requests of the candidate": goal.candidate_requests / rate
        }
        if goal.conclusive and percent < 100:
            for metric, rule in settings.rules.items():
                if rule.required:
                    told = f"proof that at most {rule.margin:.1%} more of its {WORDS[metric][0]} {WORDS[metric][1]}"
                    needed[told] = _proven_after(metric, percent, lasting, expected, stage_seconds, settings)
        slowest = max(needed, key=lambda told: needed[told])
        seconds = needed[slowest]
        lasting[percent] = min(seconds, stage_seconds)
        stages.append(
            StageForecast(
                percent=percent,
                seconds=seconds,
                candidate_requests=math.ceil(seconds * rate) if math.isfinite(seconds) else 0,
                reachable=seconds <= stage_seconds,
                statement=_statement(percent, slowest, seconds, rate, stage_seconds),
            )
        )
    return stages


def _proven_after(
    metric: MetricName,
    percent: int,
    before: Mapping[int, float],
    expected: Expectation,
    stage_seconds: float,
    settings: JudgeSettings,
) -> float:
    """After how many seconds of a stage the margin is proven, if both versions do what is expected of them."""
    rule = settings.rules[metric]

    def is_proven(seconds: float) -> bool:
        table = pooled([_table(metric, *each, expected, settings) for each in [*before.items(), (percent, seconds)]])
        if table.candidate < settings.minimum_requests:
            return False
        return difference_bound(table, settings.promotion_alpha) < rule.margin

    low, high = 0.0, stage_seconds
    while not is_proven(high):
        low, high = high, 2 * high
        if high > _LONGEST * stage_seconds:
            return math.inf
    while high - low > 0.01 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if is_proven(middle) else (middle, high)
    return high


def _table(metric: MetricName, percent: int, seconds: float, expected: Expectation, settings: JudgeSettings) -> Table:
    rates = {"answers": expected.probes_per_second}
    total = rates.get(metric, expected.requests_per_second) * seconds
    shares: dict[MetricName, float] = {
        "errors": expected.errors,
        "latency": 1 - settings.latency.quantile if settings.latency else 0.0,
        "answers": 0.0,
    }
    ours, theirs = total * percent / 100, total * (1 - percent / 100)
    return Table(ours, ours * shares[metric], theirs, theirs * shares[metric])


def _statement(percent: int, slowest: str, seconds: float, rate: float, stage_seconds: float) -> str:
    if math.isinf(seconds):
        return f"At {percent} % there is never {slowest}: more traffic, more probes or a wider margin is needed."
    told = f"At {percent} % it takes {_time(seconds)} until there are {seconds * rate:,.0f} requests of the candidate"
    if not slowest.endswith("of the candidate"):
        told += f", with {slowest}"
    if seconds <= stage_seconds:
        return f"{told}."
    return f"{told}; a stage may take {_time(stage_seconds)}. Give it more time, a larger share, or a wider margin."


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
