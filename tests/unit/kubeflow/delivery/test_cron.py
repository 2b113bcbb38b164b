from datetime import UTC, datetime

import pytest

from stepworks.errors import ConfigurationError
from stepworks.kubeflow.delivery.cron import parse_cron

NOW = datetime(2026, 11, 24, 18, 0, tzinfo=UTC)  # a Tuesday


@pytest.mark.parametrize(
    ("five", "six"),
    [
        ("0 3 * * *", "0 0 3 * * *"),
        ("*/30 8-17 * * MON-FRI", "0 */30 8-17 * * MON-FRI"),
        ("15 4 1,15 * ?", "0 15 4 1,15 * *"),
        ("0 3 * * 7", "0 0 3 * * 0"),
        ("0 3 * * 5-7", "0 0 3 * * 0,5,6"),
        ("0 3 * * 1/7", "0 0 3 * * 1"),
        ("0 3 * * MON/2", "0 0 3 * * 1,3,5"),
        ("0 3 * * 0-6/2,7", "0 0 3 * * 0,2,4,6"),
        ("0 3 1 * */2", "0 0 3 1 * */2"),
        ("@daily", "0 0 0 * * *"),
        ("@weekly", "0 0 0 * * 0"),
    ],
)
def test_five_fields_become_the_six_that_kubeflow_reads(five: str, six: str) -> None:
    assert parse_cron(five).six_fields == six


def test_the_next_times_are_what_a_calendar_says() -> None:
    times = parse_cron("30 6 * * MON").next_times(NOW, 3)
    assert [f"{time:%a %Y-%m-%d %H:%M}" for time in times] == [
        "Mon 2026-11-30 06:30",
        "Mon 2026-12-07 06:30",
        "Mon 2026-12-14 06:30",
    ]
    assert len(parse_cron("0 3 * * *").next_times(NOW)) == 5


def test_sunday_is_the_same_day_by_both_of_its_numbers() -> None:
    assert parse_cron("0 3 * * 7").next_times(NOW) == parse_cron("0 3 * * 0").next_times(NOW)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("every day", "five fields"),
        ("0 3 * *", "five fields"),
        ("0 0 3 * * *", "Write: 0 3 * * *"),
        ("5 0 3 * * *", "five fields"),
        ("61 3 * * *", "minute"),
        ("0 24 * * *", "hour"),
        ("0 3 * * 8", "day-of-week"),
        ("0 3 30 2 *", "day-of-month"),
        ("0 3 L * *", "does not know L"),
        ("0 3 * * MON#2", "does not know"),
        ("*/0 3 * * *", "minute"),
        ("0 3 * * FOO", "day-of-week"),
        ("", "five fields"),
    ],
)
def test_what_is_no_cron_expression_is_told_with_what_one_is(text: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        parse_cron(text)
    assert told in str(error.value)
    assert repr(text) in str(error.value)
