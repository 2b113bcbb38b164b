"""`stepworks ask`: a served model's answers beside those that were recorded."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from stepworks.report.wording import plural
from stepworks.serving.client import ask, only_model
from stepworks.serving.manifest import Row, Samples, read_package

SHOWN_FEATURES = 5


def ask_and_show(url: str, package: Path, *, name: str | None, rows: int) -> None:
    """Send recorded rows to a server; print each with the answer and the one that the trained model gave.

    Raises:
        NotFoundError: There is no package.
        ServingError: The package was changed, or the server does not answer.
    """
    read_package(package)
    samples = Samples.read(package)
    chosen = samples.rows[:rows]
    table = Table(box=None, pad_edge=False)
    for heading in ("Row", "Answer", "Recorded"):
        table.add_column(heading)
    answers = ask(url, name or only_model(url), chosen)
    for row, answer, recorded in zip(chosen, answers, samples.probabilities, strict=False):
        table.add_row(_shortened(row), f"{answer:.6f}", f"{recorded:.6f}")
    Console().print(table, highlight=False)
    largest = max(abs(answer - recorded) for answer, recorded in zip(answers, samples.probabilities, strict=False))
    every = ", all that there are" if len(chosen) < rows else ""
    sys.stdout.write(f"{plural(len(chosen), 'recorded row')}{every}; the largest difference is {largest:.1e}.\n")


def _shortened(row: Row) -> str:
    shown = [
        f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in list(row.items())[:SHOWN_FEATURES]
    ]
    return ", ".join([*shown, "…"] if len(row) > SHOWN_FEATURES else shown)
