"""Cron expressions: five fields as people write them, six as Kubeflow reads them.

Kubeflow's scheduler puts a field for seconds in front. It takes five fields as well, and reads them one place to
the left: `0 3 * * *` would fire each hour, at three minutes past, and not each night at three.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

from cronsim import CronSim, CronSimError

from stepworks.errors import ConfigurationError

_NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


@dataclass(frozen=True)
class Cron:
    """A cron expression.

    Attributes:
        fields: Minute, hour, day of the month, month, weekday.
    """

    fields: tuple[str, str, str, str, str]

    @property
    def six_fields(self) -> str:
        """The expression as Kubeflow reads it: second 0 in front."""
        return f"0 {self}"

    def __str__(self) -> str:
        return " ".join(self.fields)

    def times(self, after: datetime) -> Iterator[datetime]:
        """The times at which it fires, later than `after`; without end."""
        return iter(CronSim(str(self), after))

    def next_times(self, after: datetime, count: int = 5) -> list[datetime]:
        """The next times at which it fires. Kubeflow's scheduler runs in UTC, unless its owner set another zone."""
        return list(islice(self.times(after), count))


def parse_cron(text: str) -> Cron:
    """Read a cron expression of five fields, or a nickname such as `@daily`.

    Raises:
        ConfigurationError: It has another number of fields, a field is wrong, Kubeflow does not know a part of it,
            or there is no day on which it would fire.
    """
    fields = _NICKNAMES.get(text.strip().lower(), text).replace("?", "*").split()
    if len(fields) == 6 and fields[0] == "0":
        raise _wrong(text, "five fields; the seconds are added for Kubeflow", f"Write: {' '.join(fields[1:])}")
    if len(fields) != 5:
        raise _wrong(text, "five fields: minute, hour, day of the month, month, weekday")
    foreign = [field for field in fields if any(letter in _letters(field) for letter in ("L", "W", "#"))]
    if foreign:
        raise _wrong(text, "fields of numbers, names, * , - and /; Kubeflow's scheduler does not know L, W or #")
    try:
        cron = Cron((fields[0], fields[1], fields[2], fields[3], _plain_weekday(fields[4])))
        next(cron.times(datetime(2000, 1, 1, tzinfo=UTC)))
    except CronSimError as error:
        raise _wrong(text, f"fields in range, and a day that comes ({error})") from error
    except StopIteration as error:
        raise _wrong(text, "a day that is in the calendar; this one never comes") from error
    return cron


def _letters(field: str) -> str:
    """A field without the names of months and weekdays, in which any letter may stand."""
    words = field.upper().replace("-", ",").replace("/", ",").split(",")
    return ",".join(word for word in words if not (len(word) == 3 and word.isalpha()))


def _plain_weekday(weekday: str) -> str:
    """The weekday field as both cron and Kubeflow's scheduler read it.

    Cron takes 7 for Sunday too, which is an error to the scheduler; and counts `MON/2` up to 7, the scheduler up to 6.
    Such a field is written out day by day. One that starts with a star is left: it says that the day of the month
    alone decides.
    """
    if weekday.startswith("*") or not ("/" in weekday or "7" in weekday):
        return weekday
    terms = [re.sub(r"^(\w+)/", r"\1-6/", term) for term in weekday.split(",")]
    days = CronSim(f"0 0 * * {','.join(terms)}", datetime(2000, 1, 1, tzinfo=UTC)).weekdays
    return ",".join(str(day) for day in sorted({int(day) % 7 for day in days if not isinstance(day, tuple)}))


def _wrong(text: str, expected: str, what_to_do: str = "") -> ConfigurationError:
    return ConfigurationError(
        "The cron expression is wrong",
        received=repr(text),
        expected=expected,
        what_to_do=what_to_do or "Write for example '0 3 * * *' for each night at three, or '*/30 8-17 * * MON-FRI'.",
    )
