"""Documents as Markdown, which the Kubeflow UI shows beside a step."""

from __future__ import annotations

import re

from stepworks.report.documents import VerdictDocument

OUTCOME_WORDS = {"pass": "pass", "fail": "fail", "insufficient_data": "insufficient data"}


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
    return "\n".join(lines) + "\n"


def _escape(text: str) -> str:
    """Keep text from being read as markup or as a cell's end."""
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", text).replace("\n", " ")
