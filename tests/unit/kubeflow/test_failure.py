from pathlib import Path

import pytest

from stepworks.kubeflow.local.failure import explain_failure, last_exception
from stepworks.kubeflow.local.steps import Step

OURS = """
starting
Traceback (most recent call last):
  File "component.py", line 3, in step
    raise DataError(...)
stepworks.errors.DataError: The column x is missing
  Received: a, b
  What to do: Add the column x.

[cleaning up]
"""
CHAINED = """
Traceback (most recent call last):
  File "a.py", line 1, in <module>
KeyError: 'x'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "b.py", line 2, in <module>
    ^^^^^^^^^^^^
polars.exceptions.ColumnNotFoundError: unable to find column "x"
"""


@pytest.mark.parametrize(
    ("text", "explained"),
    [
        (OURS, "The column x is missing\n  Received: a, b\n  What to do: Add the column x."),
        (CHAINED, 'ColumnNotFoundError: unable to find column "x"'),
        ("Traceback (most recent call last):\n  File ...\nAssertionError\n", "AssertionError:"),
        ("Traceback (most recent call last):\n  File ...\n", None),
        ("no exception here\nValueError: only a word in the log\n", None),
    ],
)
def test_the_exception_that_ends_a_log(text: str, explained: str | None) -> None:
    assert last_exception(text) == explained


def step(exit_code: int | None) -> Step:
    return Step("train", "train", [], exit_code=exit_code)


def test_a_killed_step_says_so_although_its_log_has_an_exception(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(OURS)
    explained = explain_failure(step(-9), tmp_path / "log")
    assert "SIGKILL" in explained
    assert "out of memory" in explained
    assert "[cleaning up]" in explained


def test_an_exit_without_an_exception_shows_the_last_lines(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("".join(f"line {number}\n" for number in range(100)))
    explained = explain_failure(step(3), tmp_path / "log")
    assert "exit code 3" in explained
    assert "line 99" in explained
    assert "line 50" not in explained


def test_a_step_without_a_log(tmp_path: Path) -> None:
    assert "could not be started" in explain_failure(step(None), tmp_path / "absent")
