"""Small marks inside tables and text: intervals, bars and histograms, drawn to the width that they are given."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from stepworks.report.document import Interval
from stepworks.report.documents import Histogram
from stepworks.report.markup import Markup, element


class Scale:
    """A linear scale that holds all of some values, with a little room at both ends.

    What lies outside is put at its end.

    Args:
        values: What the scale has to hold; None is left out.
    """

    def __init__(self, values: Iterable[float | None]) -> None:
        known = [value for value in values if value is not None]
        low, high = (min(known), max(known)) if known else (0.0, 1.0)
        room = 0.04 * (high - low) or 0.5
        self.low, self.high = low - room, high + room

    def __call__(self, value: float) -> str:
        """The place of a value, as a percentage of the mark's width."""
        share = (value - self.low) / (self.high - self.low)
        return f"{100 * min(max(share, 0.0), 1.0):.2f}%"

    def holds(self, value: float) -> bool:
        """Whether a value lies on the scale."""
        return self.low <= value <= self.high


def interval_mark(found: Interval, scale: Scale, reference: float | None = None, tone: str = "accent") -> Markup:
    """An interval as a line with its value as a dot; `reference` is a line across.

    Args:
        found: The value and its ends; where they are missing, only the dot is drawn, and no dot off the scale.
        scale: The scale, shared by all marks of a column.
        reference: Where to draw the line across.
        tone: The colour: accent, good, bad or quiet.
    """
    line = None
    if found.low is not None and found.high is not None:
        line = element("line", x1=scale(found.low), x2=scale(found.high), y1=9, y2=9, class_="whisker")
    across = None
    if reference is not None:
        across = element("line", x1=scale(reference), x2=scale(reference), y1=0, y2=18, class_="reference")
    dot = element("circle", cx=scale(found.value), cy=9, r=3.5, class_="dot") if scale.holds(found.value) else None
    return element("svg", across, line, dot, class_=f"mark tone-{tone}", height=18, aria_hidden="true")


def bar_mark(share: float, tone: str = "accent") -> Markup:
    """A bar that fills `share`, from 0 to 1, of the width."""
    width = f"{100 * min(max(share, 0.0), 1.0):.2f}%"
    filled = element("rect", x=0, y=5, width=width, height=8, class_="bar")
    track = element("rect", x=0, y=5, width="100%", height=8, class_="track")
    return element("svg", track, filled, class_=f"mark tone-{tone}", height=18, aria_hidden="true")


def histogram_mark(histogram: Histogram) -> Markup:
    """A histogram without axes; its bars have the widths of their bins."""
    edges = histogram.edges
    span = (edges[-1] - edges[0]) or 1.0
    lefts = [(edge - edges[0]) / span for edge in edges]
    return _bars(
        [(left, right - left, rows) for left, right, rows in zip(lefts, lefts[1:], histogram.counts, strict=False)]
    )


def counts_mark(counts: Sequence[int]) -> Markup:
    """Counts as bars of equal width, for values that have no order."""
    width = 1 / max(len(counts), 1)
    return _bars([(position * width, width * 0.86, rows) for position, rows in enumerate(counts)])


def _bars(bars: Sequence[tuple[float, float, int]]) -> Markup:
    """Bars as (left, width, count), left and width as shares of the whole."""
    most = max((rows for *_, rows in bars), default=0) or 1
    # A bar of a few rows among many must not vanish.
    heights = [max(30 * rows / most, 0.8) if rows else 0.0 for *_, rows in bars]
    steps = "".join(
        f"M{100 * left:.2f} 30v{-height:.2f}h{max(100 * width - 0.5, 0.5):.2f}v{height:.2f}z"
        for (left, width, _), height in zip(bars, heights, strict=True)
        if height
    )
    path = element("path", d=steps or "M0 29.5h100v.5H0z", class_="bar")
    return element(
        "svg", path, class_="mark histogram", viewBox="0 0 100 30", preserveAspectRatio="none", aria_hidden="true"
    )
