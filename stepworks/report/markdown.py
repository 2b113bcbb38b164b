"""Documents as Markdown, which the Kubeflow UI shows beside a step."""

from __future__ import annotations

import re
from pathlib import Path

from stepworks.files import write_atomically
from stepworks.report.documents import VerdictDocument

OUTCOME_WORDS = {
    "pass": "pass",
    "fail": "fail",
    "insufficient_data": "insufficient data",
    "not_applicable": "does not apply",
}


def write_verdict(path: str | Path, verdict: VerdictDocument) -> Path:
    """Write the verdict as a Markdown page.

    Raises:
        ResourceError: The disk is full or the path is not writable.
    """
    return write_atomically(Path(path), verdict_markdown(verdict).encode())


def verdict_markdown(verdict: VerdictDocument) -> str:
    """The verdict and a table of its rules."""
    lines = [
        f"# Verdict: {OUTCOME_WORDS[verdict.verdict]}",
        "",
        _escape(verdict.reason),
        "",
        "| Rule | Outcome | What was found |",
        "| --- | --- | --- |",
    ]
    lines += [
        f"| {_escape(rule.name)} | {OUTCOME_WORDS[rule.outcome]} | {_escape(rule.statement)} |"
        for rule in verdict.rules
    ]
    if verdict.override:
        lines += ["", f"Overridden: {_escape(verdict.override)}"]
    return "\n".join(lines) + "\n"


def _escape(text: str) -> str:
    """Keep text from being read as markup or as a cell's end."""
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", text).replace("\n", " ")
