"""How the objects of a run are named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepworks.errors import ConfigurationError
from stepworks.placement.names import run_object_name

RUN = "6f1d2c3b-1111-4222-8333-444455556666"


def test_a_name_that_fits_is_left_as_it_is() -> None:
    longest = "n" * (63 - len(RUN) - 1)
    assert run_object_name("Job", longest, RUN) == f"{longest}-{RUN}"


def test_a_long_name_is_cut_the_same_way_each_time_and_stays_apart_from_others() -> None:
    one, other = (run_object_name("Job", "n" * 40 + end, RUN) for end in "ab")
    assert one == f"{'n' * 17}-9ec785a4-{RUN}"
    assert (len(one), one == other) == (63, False)


@pytest.mark.parametrize(
    ("name", "run"),
    [
        ("", RUN),
        ("Convert", RUN),
        ("a_b", RUN),
        ("a.b", RUN),
        ("-a", RUN),
        ("a", ""),
        ("a", "Run"),
        ("a", "b/c"),
        ("convert", "r" * 60),
    ],
)
def test_an_illegal_name_is_told(name: str, run: str) -> None:
    with pytest.raises(ConfigurationError, match="A Job of the run cannot be named") as raised:
        run_object_name("Job", name, run)
    assert f"the name {name!r} ({len(name)} characters), the run {run!r} ({len(run)}" in raised.value.received


@given(st.text(min_size=0, max_size=80), st.text(min_size=0, max_size=70))
def test_a_name_is_legal_or_refused(name: str, run: str) -> None:
    try:
        made = run_object_name("Job", name, run)
    except ConfigurationError:
        return
    assert len(made) <= 63
    assert made.endswith(f"-{run}")
    assert set(made) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert made[0] != "-" != made[-1]
