"""Streams of two arms, made up and judged many at once: what `make bench-canary` and the long tests measure by.

An arm answers a Poisson number of requests a window; each is bad, or not, on its own. `judged` runs the evidence that a
roll-out is judged by over all streams at once; `fixed_threshold` is the rule that most canary controllers have, which
looks at the candidate alone and counts the windows in which too many of its requests are bad.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from stepworks.serving.judging.bounds import lower_bound, upper_bound
from stepworks.serving.judging.evidence import LabelEvidence
from stepworks.serving.judging.settings import JudgeSettings, MetricRule

Counts = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float64]

NEVER = -1
BURST_SHARE = 0.2
_BURST_MINUTES = 0.02


@dataclass(frozen=True)
class Streams:
    """Requests and bad requests, a row a roll-out, a column a window of `seconds`."""

    seconds: float
    candidate: Counts
    stable: Counts
    candidate_bad: Counts
    stable_bad: Counts


def streams(
    candidate_bad: float | Shares,
    stable_bad: float | Shares,
    *,
    percent: float,
    random: np.random.Generator,
    runs: int = 1000,
    minutes: int = 60,
    requests_per_second: float = 10.0,
    seconds: float = 60.0,
) -> Streams:
    """Streams of one hour.

    Args:
        candidate_bad: The share of the candidate's requests that are bad; an array of it has a value a window.
        stable_bad: The same of the stable version.
        percent: The candidate's share of the requests.
        random: What makes them up.
        runs: How many roll-outs.
        minutes: How long each is.
        requests_per_second: Of both arms together.
        seconds: How long a window is.
    """
    shape = (runs, round(minutes * 60 / seconds))
    total = random.poisson(requests_per_second * seconds, shape)
    candidate = random.binomial(total, percent / 100)
    stable = total - candidate
    return Streams(
        seconds, candidate, stable, random.binomial(candidate, candidate_bad), random.binomial(stable, stable_bad)
    )


def bursts(usual: float, *, random: np.random.Generator, runs: int = 1000, minutes: int = 60) -> Shares:
    """A share that is 20 % in one minute of fifty, in each stream on its own, and the usual one else."""
    return np.where(random.random((runs, minutes)) < _BURST_MINUTES, BURST_SHARE, usual)


def incident(usual: float, *, minutes: int = 60, start: int = 20, lasting: int = 5, share: float = 0.1) -> Shares:
    """A share that is higher for some minutes, the same in each stream."""
    found = np.full(minutes, usual)
    found[start : start + lasting] = share
    return found


def slow_share(slower: float, *, usual: float = 0.1, spread: float = 0.5) -> float:
    """The share of slow requests of a candidate whose times are all so many times the stable version's.

    Args:
        slower: How many times as long its answers take.
        usual: The stable version's share of slow requests.
        spread: The standard deviation of the logarithm of the times, which are lognormal.
    """
    normal = NormalDist()
    return 1 - normal.cdf(normal.inv_cdf(1 - usual) - math.log(slower) / spread)


def judged(found: Streams, settings: JudgeSettings, rule: MetricRule) -> Counts:
    """The window after which the evidence is enough to roll back, counted from 1; `NEVER` where it never is."""
    evidence = LabelEvidence(
        settings.metric_alpha,
        tolerance=rule.tolerance,
        window_weight=settings.window_weight,
        dropped_windows=settings.dropped_windows,
        shape=(len(found.candidate),),
    )
    ended = np.full(len(found.candidate), NEVER)
    for number in range(found.candidate.shape[1]):
        evidence.add(*(each[:, number] for each in _arms(found)))
        ended[(ended == NEVER) & (evidence.logarithm >= math.log(1 / settings.metric_alpha))] = number + 1
    return ended


def proven(found: Streams, settings: JudgeSettings, rule: MetricRule) -> Counts:
    """The window after which the margin is proven, counted from 1; `NEVER` where it never is."""
    candidate, candidate_bad, stable, stable_bad = (each.cumsum(axis=1) for each in _arms(found))
    alpha = settings.promotion_alpha / 2
    worse = upper_bound(candidate_bad, candidate, alpha) - lower_bound(stable_bad, stable, alpha)
    return _first((worse < rule.margin) & (candidate >= settings.minimum_requests))


def fixed_threshold(found: Streams, *, limit: float, failures: int) -> Counts:
    """The window in which the candidate's share of bad requests is above a limit for the so-manieth time."""
    share = found.candidate_bad / np.maximum(found.candidate, 1)
    return _first((share > limit).cumsum(axis=1) >= failures)


def _arms(found: Streams) -> tuple[Counts, Counts, Counts, Counts]:
    return found.candidate, found.candidate_bad, found.stable, found.stable_bad


def _first(holds: npt.NDArray[np.bool_]) -> Counts:
    return np.where(holds.any(axis=1), holds.argmax(axis=1) + 1, NEVER)
