"""What the judge promises, held on made-up traffic: thousands of hours of it, and a short form in every run.

The numbers of the docs come from the same streams, by `make bench-canary`.
"""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.canary_streams import (
    NEVER,
    Counts,
    Shares,
    bursts,
    fixed_threshold,
    incident,
    judged,
    proven,
    slow_share,
    streams,
)
from stepworks.serving.judging.settings import JudgeSettings, LatencyRule, MetricRule

USUAL, SLOW = 0.005, 0.1
ERRORS, LATENCY = MetricRule(), LatencyRule()
DEFAULT = JudgeSettings()
DROPPING = JudgeSettings(window_weight=1.0, dropped_windows=2)
"""What the papers' guard would be: without the two windows that say most."""

SIZES = [pytest.param(150, id="short"), pytest.param(1000, id="whole", marks=pytest.mark.long)]
SHORT_AT_TEN = [
    pytest.param(150, 10, id="short"),
    *(pytest.param(1000, percent, id=f"whole-{percent}", marks=pytest.mark.long) for percent in (5, 10, 20, 50)),
]


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(11)


def rate(ended: Counts) -> float:
    return float(np.mean(ended != NEVER))


def median_minutes(ended: Counts) -> float:
    """The median of all streams, those without an end taken as endless."""
    return float(np.median(np.where(ended == NEVER, np.inf, ended)))


@pytest.mark.parametrize(("runs", "percent"), SHORT_AT_TEN)
@pytest.mark.parametrize("settings", [DEFAULT, DROPPING], ids=["weighted", "dropping"])
@pytest.mark.parametrize("shares", [USUAL, incident(USUAL), 0.02], ids=["calm", "incident", "many-errors"])
def test_a_version_that_is_no_worse_stays(
    shares: float | Shares, settings: JudgeSettings, runs: int, percent: int, random: np.random.Generator
) -> None:
    found = streams(shares, shares, percent=percent, random=random, runs=runs)
    assert rate(judged(found, settings, ERRORS)) <= 0.01
    if shares is not USUAL:
        assert rate(fixed_threshold(found, limit=0.01, failures=5)) > 0.5, "a threshold cannot tell"


@pytest.mark.parametrize(("runs", "percent"), SHORT_AT_TEN)
@pytest.mark.parametrize("settings", [DEFAULT, DROPPING], ids=["weighted", "dropping"])
def test_bursts_that_hit_one_arm_seldom_send_it_back(
    settings: JudgeSettings, runs: int, percent: int, random: np.random.Generator
) -> None:
    arms = [bursts(USUAL, random=random, runs=runs) for _ in range(2)]
    found = streams(*arms, percent=percent, random=random, runs=runs)
    assert rate(judged(found, settings, ERRORS)) <= 0.05
    unguarded = JudgeSettings(window_weight=1.0)
    assert rate(judged(found, unguarded, ERRORS)) > 0.1, "without a limit to a window they often would"


@pytest.mark.parametrize(("runs", "percent"), SHORT_AT_TEN)
def test_versions_as_fast_stay(runs: int, percent: int, random: np.random.Generator) -> None:
    found = streams(SLOW, SLOW, percent=percent, random=random, runs=runs)
    assert rate(judged(found, DEFAULT, LATENCY)) <= 0.01
    tolerated = streams(1.25 * SLOW, SLOW, percent=percent, random=random, runs=runs)
    assert rate(judged(tolerated, DEFAULT, LATENCY)) <= 0.01


@pytest.mark.parametrize("runs", SIZES)
def test_a_worse_version_is_found_in_time(runs: int, random: np.random.Generator) -> None:
    failing = streams(USUAL + 0.05, USUAL, percent=10, random=random, runs=runs)
    assert median_minutes(judged(failing, DEFAULT, ERRORS)) <= 5
    assert rate(judged(failing, DEFAULT, ERRORS)) == 1
    slower = streams(slow_share(1.3), SLOW, percent=10, random=random, runs=runs)
    assert median_minutes(judged(slower, DEFAULT, LATENCY)) <= 9
    assert rate(judged(slower, DEFAULT, LATENCY)) > 0.99


@pytest.mark.parametrize("runs", SIZES)
def test_limiting_a_window_finds_sooner_than_dropping_two(runs: int, random: np.random.Generator) -> None:
    for worse in (USUAL + 0.05, USUAL + 0.02):
        found = streams(worse, USUAL, percent=10, random=random, runs=runs)
        limited, dropping = (median_minutes(judged(found, each, ERRORS)) for each in (DEFAULT, DROPPING))
        assert limited < dropping


@pytest.mark.parametrize("runs", SIZES)
def test_what_is_worse_by_the_margin_is_seldom_promoted(runs: int, random: np.random.Generator) -> None:
    worse = streams(USUAL + ERRORS.margin, USUAL, percent=20, random=random, runs=runs)
    assert rate(proven(worse, DEFAULT, ERRORS)) <= DEFAULT.promotion_alpha
    good = streams(USUAL, USUAL, percent=20, random=random, runs=runs)
    assert rate(proven(good, DEFAULT, ERRORS)) > 0.99
    assert median_minutes(proven(good, DEFAULT, ERRORS)) <= 6
