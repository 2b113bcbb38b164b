"""Numbers, times and names as people read them."""

from __future__ import annotations

from datetime import datetime

from stepworks.report.document import Interval

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

METRIC_NAMES = {
    "auc": "AUC",
    "average_precision": "Average precision",
    "log_loss": "Log loss",
    "brier_score": "Brier score",
    "accuracy": "Accuracy",
}
"""How metrics are called in a text; one that is not here is called by its own name."""

CANARY_OUTCOMES = {"promoted": "Promoted", "rolled_back": "Rolled back", "held": "Held"}
"""How the end of a roll-out is called."""

_MINUS = "\N{MINUS SIGN}"


def metric_name(name: str) -> str:
    """A metric's name as it is written in a text."""
    return METRIC_NAMES.get(name, name.replace("_", " "))


def count(value: int) -> str:
    """A count with its thousands apart."""
    return f"{value:,}"


def plural(value: int, noun: str) -> str:
    """A count and what is counted: `1 row`, `2 rows`."""
    return f"{count(value)} {noun}" if value == 1 else f"{count(value)} {noun}s"


def number(value: float, digits: int = 3) -> str:
    """A number with `digits` decimals and a true minus sign; what rounds to zero has no sign."""
    return f"{value:z.{digits}f}".replace("-", _MINUS)


def signed(value: float, digits: int = 3) -> str:
    """A difference: with its sign, a true minus sign among them, unless it rounds to zero."""
    text = number(value, digits)
    return f"+{text}" if value > 0 and text.strip("0.") else text


def short(value: float) -> str:
    """A number of any size in about four figures."""
    if value and not 1e-3 <= abs(value) < 1e7:
        mantissa, exponent = f"{value:.1e}".split("e")
        power = str(int(exponent)).translate(_SUPERSCRIPTS)
        return f"{mantissa.replace('-', _MINUS)}\N{NO-BREAK SPACE}\N{MULTIPLICATION SIGN}\N{NO-BREAK SPACE}10{power}"
    return f"{value:z,.4g}".replace("-", _MINUS) if abs(value) < 10_000 else number_apart(value)


def number_apart(value: float) -> str:
    """A large number without decimals, its thousands apart."""
    return f"{value:z,.0f}".replace("-", _MINUS)


def percent(share: float, digits: int = 1) -> str:
    """A share as a percentage."""
    return f"{number(100 * share, digits)}\N{NARROW NO-BREAK SPACE}%"


def interval(found: Interval, digits: int = 3) -> str:
    """The ends of an interval, or a dash where there is none."""
    if found.low is None or found.high is None:
        return "\N{EM DASH}"
    return f"{number(found.low, digits)} to {number(found.high, digits)}"


def duration(seconds: float | None) -> str:
    """A duration: `0.04 s`, `3.2 s`, `1 min 20 s`, `2 h 5 min`."""
    if seconds is None:
        return "\N{EM DASH}"
    if seconds < 0.1:
        return f"{seconds:.2f} s"
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def moment(iso: str) -> str:
    """A time of a record as `24 November 2025, 15:21 UTC`; a text that is no time stays as it is."""
    try:
        at = datetime.fromisoformat(iso)
    except ValueError:
        return iso
    return f"{at.day} {at:%B %Y, %H:%M} UTC"


def moment_of(value: str) -> str:
    """A moment of the data, `2013-01-01 05:15`; a text that is no moment stays as it is."""
    try:
        return f"{datetime.fromisoformat(value):%Y-%m-%d %H:%M}"
    except ValueError:
        return value


def clipped(text: str, length: int) -> str:
    """A text of at most `length` characters, an ellipsis at its end where it was longer."""
    return text if len(text) <= length else f"{text[: length - 1]}\N{HORIZONTAL ELLIPSIS}"
