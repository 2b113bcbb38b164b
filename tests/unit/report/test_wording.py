import pytest

from stepworks.report.document import Interval
from stepworks.report.documents import Histogram
from stepworks.report.marks import Scale, bar_mark, counts_mark, histogram_mark, interval_mark
from stepworks.report.markup import Markup, element, join
from stepworks.report.wording import (
    clipped,
    duration,
    interval,
    moment,
    moment_of,
    number,
    percent,
    plural,
    short,
    signed,
)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (None, "—"),
        (0.04, "0.04 s"),
        (3.21, "3.2 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 0 s"),
        (3599.6, "1 h 0 min"),
        (7500, "2 h 5 min"),
    ],
)
def test_durations(seconds: float | None, told: str) -> None:
    assert duration(seconds) == told


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (0, "0"),
        (0.25, "0.25"),
        (-94.4, "\N{MINUS SIGN}94.4"),
        (1041.7, "1,042"),
        (123_456.7, "123,457"),
        (1e-5, "1.0\N{NO-BREAK SPACE}\N{MULTIPLICATION SIGN}\N{NO-BREAK SPACE}10⁻⁵"),
        (-2.5e9, "\N{MINUS SIGN}2.5\N{NO-BREAK SPACE}\N{MULTIPLICATION SIGN}\N{NO-BREAK SPACE}10⁹"),
    ],
)
def test_short_numbers(value: float, told: str) -> None:
    assert short(value) == told


def test_what_rounds_to_zero_has_no_sign() -> None:
    assert (short(-0.0), number(-0.0001), signed(-0.0)) == ("0", "0.000", "0.000")
    assert percent(-0.0001) == "0.0\N{NARROW NO-BREAK SPACE}%"
    assert percent(-0.001) == "\N{MINUS SIGN}0.1\N{NARROW NO-BREAK SPACE}%"


def test_small_words() -> None:
    assert (plural(1, "row"), plural(2000, "row")) == ("1 row", "2,000 rows")
    assert signed(-0.00001, 4) == signed(0.00001, 4) == "0.0000"
    assert signed(-0.0049, 4) == "\N{MINUS SIGN}0.0049"
    assert interval(Interval(value=1)) == "—"
    assert clipped("roll-out-canary", 8) == "roll-ou…"
    assert (moment("yesterday"), moment_of("AA")) == ("yesterday", "AA")


def test_elements_escape_what_is_not_markup() -> None:
    assert element("p", "a < b", None, [Markup("<b>"), "&"], title='"', hidden=True, lang=None, class_="x") == (
        '<p title="&quot;" hidden class="x">a &lt; b<b>&amp;</p>'
    )
    assert element("svg", viewBox="0 0 1 1", stroke_width=1.5) == '<svg viewBox="0 0 1 1" stroke-width="1.5"></svg>'
    assert join("<", Markup("<i>")) == "&lt;<i>"


def test_a_scale_puts_what_lies_outside_at_its_end() -> None:
    scale = Scale([0.0, None, 1.0])
    assert (scale(-5), scale(0.5), scale(9)) == ("0.00%", "50.00%", "100.00%")
    assert Scale([])(0.5) == Scale([3.0])(3.0) == "50.00%"


def test_marks() -> None:
    scale = Scale([0.0, 1.0])
    assert interval_mark(Interval(value=0.5, low=0.4, high=0.6), scale, 0.5).count("<line") == 2
    assert "circle" not in interval_mark(Interval(value=7), scale)
    assert 'width="100.00%"' in bar_mark(1.7)
    heights = [
        float(part.split("h")[0]) for part in histogram_mark(Histogram(edges=[0, 1, 3], counts=[10, 5])).split("v-")[1:]
    ]
    assert heights == [30, 15]
    assert counts_mark([1000, 1]).count("v-") == 2  # one row among a thousand is still to be seen
    assert "<path" in counts_mark([])
