"""How large a share can be, with bounds that hold at all times at once.

A share p of which `bad` of `total` were seen is left out of the bounds once a mixture of shares, weighted by a beta
distribution, explains what was seen 1/alpha times as well as p itself. By Ville's inequality the true share is ever
left out with probability alpha at most, so the bounds may be looked at after every window and the first good look taken
(Robbins, "Statistical methods related to the law of the iterated logarithm", 1970).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

_A, _B = 0.5, 20.0
"""The beta distribution of the mixture: tightest for shares of a few percent, as those of bad requests are."""
_HALVINGS = 30

_log_gamma = np.frompyfunc(math.lgamma, 1, 1)


@dataclass(frozen=True)
class Table:
    """The requests and bad requests of both arms. Weighted ones need not be whole numbers."""

    candidate: float
    candidate_bad: float
    stable: float
    stable_bad: float


def lower_bound(bad: npt.ArrayLike, total: npt.ArrayLike, alpha: float) -> Values:
    """The lowest share that is not left out; `lower_bound` and `upper_bound` together keep `alpha`.

    Args:
        bad: How many were bad.
        total: Of how many; 0 gives the bound 0.
        alpha: The probability that the bounds ever leave out the true share.
    """
    return _bound(bad, total, alpha, end=0.0)


def upper_bound(bad: npt.ArrayLike, total: npt.ArrayLike, alpha: float) -> Values:
    """The highest share that is not left out; 1 where there are no requests. See `lower_bound`."""
    return _bound(bad, total, alpha, end=1.0)


def difference_bound(table: Table, alpha: float) -> float:
    """By how much the candidate's share of bad requests is higher at most.

    The upper bound of the candidate's share less the lower bound of the stable version's, each with half of `alpha`.
    """
    upper = upper_bound(table.candidate_bad, table.candidate, alpha / 2)
    lower = lower_bound(table.stable_bad, table.stable, alpha / 2)
    return float(upper - lower)


def pooled(stages: Sequence[Table]) -> Table:
    """All stages as one table, in which the stable version's requests lie over the stages as the candidate's do.

    The arms share the traffic differently in each stage. Simple sums would hold a bad hour of a stage in which the
    candidate had little traffic against the stable version alone. So its share of each stage is weighted by the
    candidate's requests there, and its number of requests is what gives the weighted share its variance. Within one
    stage this changes nothing. A stage in which one of the arms had no requests is left out.
    """
    both = [stage for stage in stages if stage.candidate and stage.stable]
    candidate = sum(stage.candidate for stage in both)
    if not candidate:
        return Table(0, 0, 0, 0)
    weights = [stage.candidate / candidate for stage in both]
    share = sum(weight * stage.stable_bad / stage.stable for weight, stage in zip(weights, both, strict=True))
    stable = 1 / sum(weight**2 / stage.stable for weight, stage in zip(weights, both, strict=True))
    return Table(candidate, sum(stage.candidate_bad for stage in both), stable, share * stable)


def _bound(bad: npt.ArrayLike, total: npt.ArrayLike, alpha: float, *, end: float) -> Values:
    bad, total = np.broadcast_arrays(np.asarray(bad, dtype=float), np.asarray(total, dtype=float))
    good = total - bad
    mixture = _log_beta(_A + bad, _B + good) - _log_beta(_A, _B)
    kept = np.divide(bad, total, out=np.full(total.shape, end), where=total > 0)
    left_out = np.full_like(kept, end)
    with np.errstate(divide="ignore", invalid="ignore"):
        for _ in range(_HALVINGS):
            middle = (kept + left_out) / 2
            own = np.where(bad > 0, bad * np.log(middle), 0.0) + np.where(good > 0, good * np.log1p(-middle), 0.0)
            holds = mixture - own < math.log(1 / alpha)
            kept, left_out = np.where(holds, middle, kept), np.where(holds, left_out, middle)
    return np.asarray(kept, dtype=float)


def _log_beta(a: Values | float, b: Values | float) -> Values:
    return np.asarray(_log_gamma(a) + _log_gamma(b) - _log_gamma(np.add(a, b)), dtype=float)
