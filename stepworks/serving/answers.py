"""How far a server's answers are from the recorded ones."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from stepworks.errors import ServingError
from stepworks.serving.manifest import Samples


def difference(answer: Any, expected: Any) -> float:
    """How far an answer is from the recorded one.

    Args:
        answer: What the server said.
        expected: What was recorded: a number, nested lists of numbers, or a text.

    Returns:
        Of numbers, the largest difference, relative to those above 1. Of a text, the share of it that follows its first
        difference, but for white space before it; what the server says beyond it does not count. NaN for an answer of
        another form.
    """
    if isinstance(expected, str):
        if not isinstance(answer, str):
            return math.nan
        wanted_text = expected.lstrip()  # whether a first token begins with a space differs from decoder to decoder
        pairs = zip(answer.lstrip(), wanted_text, strict=False)
        same = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
        return 1 - same / len(wanted_text) if wanted_text else 0.0
    try:
        given, wanted = np.asarray(answer, dtype=float), np.asarray(expected, dtype=float)
    except (TypeError, ValueError):
        return math.nan
    if given.shape != wanted.shape:
        return math.nan
    return float((np.abs(given - wanted) / np.maximum(1.0, np.abs(wanted))).max(initial=0.0))


def expected_answers(samples: Samples) -> list[Any]:
    """What a server is to answer to each recorded row."""
    return list(samples.answers if samples.texts is None else samples.texts)


def largest_difference(
    samples: Samples, together: Sequence[Any], alone: Sequence[Any], tolerance: float, excused: float = 0.0
) -> float:
    """The largest difference between a server's answers and the recorded ones.

    Args:
        samples: The recorded rows and answers.
        together: The server's answers to one request with all rows.
        alone: The server's answers to one request a row.
        tolerance: The largest allowed difference.
        excused: The share of the rows that may differ more.

    Raises:
        ServingError: Too many answers differ by more, or are NaN; it names the worst row.
    """
    expected = expected_answers(samples)
    differences = np.array(
        [
            [difference(answer, wanted) for answer, wanted in zip(answers, expected, strict=True)]
            for answers in (together, alone)
        ]
    ).max(axis=0)
    worst = int(np.argmax(differences))  # A NaN counts as the largest.
    wrong = int((~(differences <= tolerance)).sum())
    if wrong > excused * len(expected):
        raise ServingError(
            "The server does not answer as the trained model does",
            received=f"{_short(together[worst])} in one request for all rows, {_short(alone[worst])} alone, "
            f"for the row {_short(samples.rows[worst])}",
            expected=f"{_short(expected[worst])}, to {tolerance:g}; {wrong} of {len(expected)} rows differ more",
            what_to_do="Compare the graph's transform with that of transform_table for this row; do not deploy."
            if samples.texts is None
            else "Ask the server for this prompt, and compare its tokenizer and its weights with the packaged ones.",
        )
    return float(differences[worst])


def _short(value: Any) -> str:
    told = repr(value)
    return told if len(told) <= 500 else f"{told[:500]}…"
