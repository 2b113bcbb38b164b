"""When nothing may be judged: the counts are not of what was asked for, or there are none."""

from __future__ import annotations

from collections.abc import Sequence

from stepworks.serving.judging.bounds import lower_bound, upper_bound
from stepworks.serving.judging.counts import Window
from stepworks.serving.judging.settings import JudgeSettings

_SHARE_ALPHA = 1e-4
"""How often a split that keeps its share is taken for one that does not."""
_WHOLE_PERCENT = 0.01
"""A router that draws whole numbers may be off by one."""
_ALIKE_WINDOWS = 5


def refusal(windows: Sequence[Window], settings: JudgeSettings) -> str:
    """Why the counts cannot be those of the two arms; empty when nothing is wrong with them."""
    return _same_series(windows) or _wrong_share(windows, settings.share_tolerance)


def stale_seconds(windows: Sequence[Window]) -> float:
    """For how long there have been no new counts."""
    seconds = 0.0
    for window in reversed(windows):
        if not window.is_stale:
            break
        seconds += window.seconds
    return seconds


def _wrong_share(windows: Sequence[Window], tolerance: float) -> str:
    """Whether the candidate gets another share than was asked for, beyond chance and by more than is tolerated."""
    percent = windows[-1].percent
    stage = [each for each in windows if each.percent == percent and each.stable and each.counted and not each.problem]
    if not 0 < percent < 100 or not stage:
        return ""
    stage = stage[1:] or stage
    candidate = sum(each.candidate.requests for each in stage)
    total = candidate + sum(each.stable.requests for each in stage if each.stable)
    asked = percent / 100
    room = max(tolerance * min(asked, 1 - asked), _WHOLE_PERCENT)
    low, high = (float(bound(candidate, total, _SHARE_ALPHA)) for bound in (lower_bound, upper_bound))
    if low <= asked + room and high >= asked - room:
        return ""
    return (
        f"The candidate got {candidate:,} of {total:,} requests, {candidate / total:.1%}, where {percent} % were asked "
        "for: the traffic is not split as it should be, or the counts are of something else."
    )


def _same_series(windows: Sequence[Window]) -> str:
    """The requests and times of both arms agree in window after window, which is no chance."""
    alike = 0
    for window in reversed(windows):
        if window.stable is None or window.is_stale:
            continue
        arms = [(each.requests, each.errors, each.latency) for each in (window.stable, window.candidate)]
        latency = window.candidate.latency
        if arms[0] != arms[1] or latency is None or sum(count > 0 for count in latency.counts) < 3:
            break
        alike += 1
    if alike < _ALIKE_WINDOWS:
        return ""
    return f"Both arms have the very same counts in {alike} windows: what is counted does not tell the versions apart."
