"""The evidence is a fair game under no difference, by exact enumeration; the bounds are those of the definition."""

from __future__ import annotations

import itertools
import math
from dataclasses import astuple
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepworks.serving.judging.bounds import Table, difference_bound, lower_bound, pooled, upper_bound
from stepworks.serving.judging.evidence import LabelEvidence, relative_risks

Window = tuple[int, int, int]
"""The candidate's requests, the stable version's, and how many of both are bad."""


@st.composite
def windows(draw: st.DrawFn) -> Window:
    candidate, stable = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    return candidate, stable, draw(st.integers(0, candidate + stable))


def outcomes(window: Window) -> list[tuple[int, Fraction]]:
    """How many of the bad requests are the candidate's, each with its exact probability if no version is worse."""
    candidate, stable, bad = window
    ways = math.comb(candidate + stable, bad)
    return [
        (ours, Fraction(math.comb(candidate, ours) * math.comb(stable, bad - ours), ways))
        for ours in range(max(0, bad - stable), min(candidate, bad) + 1)
    ]


def evidence(course: list[tuple[Window, int]], **limits: float) -> float:
    gathered = LabelEvidence(0.01, **limits)
    for (candidate, stable, bad), ours in course:
        gathered.add(candidate, ours, stable, bad - ours)
    return float(gathered.logarithm)


@settings(max_examples=60, deadline=None)
@given(st.lists(windows(), min_size=1, max_size=3), st.sampled_from([1.0, 0.3]), st.integers(0, 2))
def test_under_no_difference_the_mean_is_at_most_one(found: list[Window], weight: float, dropped: int) -> None:
    mean = 0.0
    for course in itertools.product(*(outcomes(window) for window in found)):
        probability = math.prod(chance for _, chance in course)
        seen = [(window, ours) for window, (ours, _) in zip(found, course, strict=True)]
        mean += float(probability) * math.exp(evidence(seen, window_weight=weight, dropped_windows=dropped))
    assert mean <= 1 + 1e-9


@settings(max_examples=60, deadline=None)
@given(st.lists(windows(), min_size=1, max_size=6), st.data())
def test_no_limit_ever_raises_the_evidence(found: list[Window], data: st.DataObject) -> None:
    course = [(window, data.draw(st.sampled_from(outcomes(window)))[0]) for window in found]
    whole = evidence(course)
    dropped = [evidence(course, dropped_windows=number) for number in range(4)]
    assert dropped[0] == whole
    assert all(more <= less + 1e-9 for less, more in itertools.pairwise(dropped))
    weighted = [evidence(course, window_weight=weight) for weight in (1.0, 0.5, 0.2)]
    assert weighted[0] == whole
    assert all(less_weight <= more_weight + 1e-9 for more_weight, less_weight in itertools.pairwise(weighted))


def test_the_evidence_is_the_mean_likelihood_ratio() -> None:
    course = [((20, 80, 6), 4), ((10, 90, 3), 1)]
    ratios = []
    for risk in np.geomspace(1.25, 30, 16):
        ratio = 1.0
        for (candidate, stable, bad), ours in course:
            share = candidate / (candidate + stable)
            worse = risk * share / (risk * share + 1 - share)
            ratio *= (worse / share) ** ours * ((1 - worse) / (1 - share)) ** (bad - ours)
        ratios.append(ratio)
    assert math.exp(evidence(course)) == pytest.approx(np.mean(ratios))


def test_dropping_takes_the_windows_that_say_most() -> None:
    strong, weak = ((10, 90, 9), 9), ((10, 90, 3), 1)
    assert evidence([strong, weak, strong], dropped_windows=2) == pytest.approx(evidence([weak]), abs=0.35)
    assert evidence([weak, weak], dropped_windows=2) <= 0
    assert evidence([strong] * 5, dropped_windows=2) == pytest.approx(evidence([strong] * 3))


def test_one_window_is_never_enough() -> None:
    overwhelming = ((500, 500, 500), 500)
    needed = math.log(100)
    assert evidence([overwhelming]) > 10 * needed
    assert evidence([overwhelming] * 2, window_weight=1 / 3) < needed
    assert evidence([overwhelming] * 4, window_weight=1 / 3) > needed


def test_what_is_tolerated_is_no_evidence() -> None:
    """At five slow answers of the candidate for four of the stable version, on the same traffic."""
    as_allowed = [((100, 100, 18), 10)] * 40
    assert evidence(as_allowed, tolerance=1.25) < 0 < evidence(as_allowed)
    assert min(relative_risks(1.25)) == pytest.approx(1.25 * 1.1)
    assert max(relative_risks(1.0)) == pytest.approx(30)


def test_a_window_without_one_of_the_arms_says_nothing() -> None:
    gathered = LabelEvidence(0.01)
    for counts in ((0, 0, 50, 20), (50, 20, 0, 0), (0, 0, 0, 0)):
        gathered.add(*counts)
        assert float(gathered.logarithm) == pytest.approx(0, abs=1e-12)


def test_many_roll_outs_at_once_are_as_each_alone() -> None:
    random = np.random.default_rng(1)
    counts = random.integers(1, 30, (8, 4, 5))  # windows, arms' counts, roll-outs
    counts[:, 1], counts[:, 3] = np.minimum(counts[:, 0], counts[:, 1]), np.minimum(counts[:, 2], counts[:, 3])
    together = LabelEvidence(0.01, window_weight=0.4, dropped_windows=1, shape=(5,))
    alone = [LabelEvidence(0.01, window_weight=0.4, dropped_windows=1) for _ in range(5)]
    for window in counts:
        together.add(*window)
        for number, one in enumerate(alone):
            one.add(*window[:, number])
    np.testing.assert_allclose(together.logarithm, [float(one.logarithm) for one in alone])


@pytest.mark.parametrize(("bad", "total"), [(0, 60), (3, 200), (60, 60), (1, 1), (500, 10_000)])
def test_bounds_are_where_the_mixture_explains_it_so_much_better(bad: int, total: int) -> None:
    def log_beta(a: float, b: float) -> float:
        return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)

    low, high = float(lower_bound(bad, total, 0.05)), float(upper_bound(bad, total, 0.05))
    assert 0 <= low <= bad / total <= high <= 1
    for bound in (low, high):
        if 0 < bound < 1:
            mixture = log_beta(0.5 + bad, 20 + total - bad) - log_beta(0.5, 20)
            own = bad * math.log(bound) + (total - bad) * math.log(1 - bound)
            assert mixture - own == pytest.approx(math.log(20), abs=1e-6)
    assert (low == 0) == (bad == 0)
    assert (high == 1) == (bad == total)


def test_without_requests_nothing_is_known() -> None:
    assert (float(lower_bound(0, 0, 0.05)), float(upper_bound(0, 0, 0.05))) == (0, 1)
    assert difference_bound(Table(0, 0, 0, 0), 0.05) == 1


def test_bounds_hold_at_all_times_at_once() -> None:
    """A thousand streams of 400 requests, looked at after every tenth."""
    random = np.random.default_rng(7)
    share, alpha = 0.05, 0.1
    bad = (random.random((1000, 400)) < share).cumsum(axis=1)[:, 9::10]
    total = np.arange(10, 401, 10)
    left_out = (lower_bound(bad, total, alpha) > share) | (upper_bound(bad, total, alpha) < share)
    assert left_out.any(axis=1).mean() <= alpha


def test_stages_are_weighted_as_the_candidate_sees_them() -> None:
    one = Table(100, 2, 900, 30)
    assert astuple(pooled([one])) == pytest.approx(astuple(one))
    whole = pooled([one, Table(50, 1, 450, 15)])
    assert (whole.candidate, whole.stable) == pytest.approx((150, 1350))
    assert whole.stable_bad == pytest.approx(45)
    # A bad hour of both in a stage where the candidate had hardly any traffic does not make it look good.
    bad_hour, good_hour = Table(50, 10, 950, 190), Table(500, 25, 500, 5)
    fair = pooled([bad_hour, good_hour])
    assert fair.stable_bad / fair.stable == pytest.approx((50 * 0.2 + 500 * 0.01) / 550)
    assert fair.candidate_bad / fair.candidate > fair.stable_bad / fair.stable
    assert pooled([Table(40, 3, 0, 0), one]) == pooled([one])
    assert pooled([]) == Table(0, 0, 0, 0)
