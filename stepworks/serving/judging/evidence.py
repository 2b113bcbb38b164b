"""Evidence against a candidate that stays valid however often it is looked at.

Take the bad requests of one window, of both arms together. If the candidate is no worse, each of them is one of the
candidate's with the probability of its share of the window's requests, whatever it was that made requests fail then:
an outage that both arms have cancels out. If the candidate fails r times as often, its share of the bad ones is larger.
The evidence is how many times as well the second explains what is seen as the first, a likelihood ratio, averaged over
a grid of r and multiplied over the windows.

The candidate's number of bad requests, given those of both, is hypergeometric; a convex function of it is on average at
most what it is for the binomial number (Hoeffding, "Probability inequalities for sums of bounded random variables",
1963, theorem 4), for which a likelihood ratio is 1 on average. So no window raises the evidence on average, and by
Ville's inequality it reaches 1/alpha at any time in at most a share alpha of all roll-outs. For a mixture test on
counts see Lindon and Malek, "Anytime-valid inference for multinomial count data", arXiv:2011.03567.

All of this takes requests to be alike within a window. One bad minute of the candidate's only pod is no such thing, and
therefore counts for a limited part. A limit only lowers the evidence, so it stays valid.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

_RISKS = 16
_LEAST_RISK = 1.25
_LEAST_RISK_ABOVE_TOLERANCE = 1.1
_LARGEST_RISK = 30.0


def relative_risks(tolerance: float) -> Values:
    """The values of r that the evidence is averaged over, evenly spaced by their logarithms.

    Args:
        tolerance: The relative risk that is still allowed; all values are larger.
    """
    least = _LEAST_RISK if tolerance == 1 else _LEAST_RISK_ABOVE_TOLERANCE
    return tolerance * np.geomspace(least, _LARGEST_RISK, _RISKS)


class LabelEvidence:
    """The evidence of one metric, window by window; of many roll-outs at once where a shape is given.

    Args:
        alpha: Evidence of 1/alpha is enough.
        tolerance: The relative risk that is still allowed.
        window_weight: At most this share of the logarithm of 1/alpha may come from one window.
        dropped_windows: How many of the largest windows are left out, for each relative risk on its own.
        shape: The shape of the counts that are given; `()` for one roll-out.
    """

    def __init__(
        self,
        alpha: float,
        *,
        tolerance: float = 1.0,
        window_weight: float = 1.0,
        dropped_windows: int = 0,
        shape: tuple[int, ...] = (),
    ) -> None:
        self._tolerance = tolerance
        self._risks = relative_risks(tolerance)
        self._limit = window_weight * math.log(1 / alpha) if window_weight < 1 else math.inf
        self._sums = np.zeros((*shape, _RISKS))
        self._largest = np.zeros((dropped_windows + 1, *shape, _RISKS))

    def add(
        self,
        candidate: npt.ArrayLike,
        candidate_bad: npt.ArrayLike,
        stable: npt.ArrayLike,
        stable_bad: npt.ArrayLike,
    ) -> None:
        """Add one window's requests and bad requests of both arms. A window that lacks one of the arms says nothing."""
        ours, theirs = np.asarray(candidate, dtype=float)[..., None], np.asarray(stable, dtype=float)[..., None]
        told = (ours > 0) & (theirs > 0)
        odds = np.divide(ours, theirs, out=np.ones_like(ours + theirs), where=told)
        # With p = r·odds / (r·odds + 1), the chance that a bad request is the candidate's.
        allowed = np.log1p(self._tolerance * odds)
        worse = np.log1p(self._risks * odds)
        ours_bad = np.asarray(candidate_bad, dtype=float)[..., None]
        theirs_bad = np.asarray(stable_bad, dtype=float)[..., None]
        gained = ours_bad * np.log(self._risks / self._tolerance) - (ours_bad + theirs_bad) * (worse - allowed)
        gained = np.where(told, np.minimum(gained, self._limit), 0.0)
        self._sums += gained
        self._largest[0] = np.maximum(gained, 0.0)
        self._largest.sort(axis=0)

    @property
    def logarithm(self) -> Values:
        """The natural logarithm of the evidence so far."""
        kept = self._sums - self._largest[1:].sum(axis=0)
        return np.asarray(np.logaddexp.reduce(kept, axis=-1) - math.log(_RISKS))
