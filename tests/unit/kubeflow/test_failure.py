import signal
from pathlib import Path

import pytest

from stepworks.kubeflow.local.failure import explain_failure, last_exception
from stepworks.kubeflow.local.step_log import ATTEMPT_MARK

OURS = """
starting
Traceback (most recent call last):
  File "component.py", line 3, in step
    raise DataError(...)
stepworks.errors.DataError: The column x is missing
  Received: a, b

  What to do: Add the column x.
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
QUOTING = """
Traceback (most recent call last):
  File "deploy.py", line 1, in deploy
stepworks.errors.ServingError: The process ended before it was ready
  Received: exit code 1; its log ends:
    Traceback (most recent call last):
      File "server.py", line 1, in <module>
    ImportError: no module
  What to do: Correct what its log names.
"""


@pytest.mark.parametrize(
    ("text", "explained"),
    [
        (OURS, "The column x is missing\n  Received: a, b\n\n  What to do: Add the column x."),
        (CHAINED, 'ColumnNotFoundError: unable to find column "x"'),
        (QUOTING, QUOTING.partition("stepworks.errors.ServingError: ")[2].rstrip()),
        ("Traceback (most recent call last):\n  File ...\nAssertionError\n", "AssertionError:"),
        ("Traceback (most recent call last):\n  File ...\n", None),
        ("no exception here\nValueError: only a word in the log\n", None),
    ],
)
def test_the_exception_that_ends_a_log(text: str, explained: str | None) -> None:
    assert last_exception(text) == explained


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def test_a_killed_step_says_so_although_its_log_has_an_exception(log: Path) -> None:
    log.write_text(OURS)
    explained = explain_failure(-signal.SIGKILL, log)
    assert "SIGKILL" in explained
    assert "out of memory" in explained
    assert "What to do: Add the column x." in explained


def test_a_signal_without_a_name_is_told_by_its_number(log: Path) -> None:
    assert "signal 40" in explain_failure(-40, log)


def test_an_exit_that_no_exception_made_shows_the_last_lines_and_not_an_exception_that_was_caught(log: Path) -> None:
    log.write_text(CHAINED + "".join(f"line {number}\n" for number in range(100)))
    explained = explain_failure(3, log)
    assert explained.startswith("The step's process ended with exit code 3")
    assert "line 99" in explained
    assert "line 50" not in explained


def test_the_exception_of_an_earlier_attempt_is_not_told(log: Path) -> None:
    log.write_text(f"{OURS}{ATTEMPT_MARK}2 ---\n{CHAINED}")
    assert explain_failure(1, log).startswith("ColumnNotFoundError")


def test_a_log_cannot_flood_or_steer_the_terminal(log: Path) -> None:
    log.write_bytes(
        b"Traceback (most recent call last):\nValueError: \x1b[31mred\x07 "
        + b"x" * 10_000 + b"\nline\n" * 1000 + b"\xff\n"
    )  # fmt: skip
    explained = explain_failure(1, log)
    assert explained.startswith("ValueError: red x")
    assert "\x1b" not in explained
    assert len(explained) < 5_000


def test_a_step_without_a_log(log: Path) -> None:
    assert "could not be started" in explain_failure(None, log)
