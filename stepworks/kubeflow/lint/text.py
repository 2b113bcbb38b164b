"""Findings as people read them in a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from itertools import groupby
from typing import TypeAlias

from stepworks.kubeflow.lint.check import Report
from stepworks.kubeflow.lint.finding import Finding, Severity
from stepworks.kubeflow.lint.rules import all_rules

WIDTH = 100
"""Of what is written to a file or a pipe; a terminal has its own."""
LONGEST = 1_000
"""Characters of a finding that are shown; a name in a file may have any length."""

_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}

Line: TypeAlias = list[tuple[str, str]]
"""Parts of a line, each with a style of rich; the style is empty for plain text."""


def text_lines(report: Report, least: Severity = Severity.INFO, width: int = WIDTH) -> Iterator[Line]:
    """The findings that count and are at least so bad, by file and rule, the worst first; then the summary of all."""
    listed = [each for each in report.counted if each.severity.rank >= least.rank]
    for file, of_file in groupby(sorted(listed, key=lambda each: each.file), key=lambda each: each.file):
        yield [(file, "bold")]
        ordered = sorted(of_file, key=lambda each: (-each.severity.rank, each.rule, each.line, each.column))
        for (severity, id_), group in groupby(ordered, key=lambda each: (each.severity, each.rule)):
            findings, title = list(group), all_rules()[id_].title
            yield [
                ("  ", ""),
                (f"{severity:<8}", _STYLES[severity]),
                (id_, "bold"),
                (f"  {title}", ""),
            ]
            for finding in findings:
                yield from _finding_lines(finding, width)
            yield from ([(line, "dim")] for line in _wrapped(f"What to do: {findings[0].what_to_do}", "    ", width))
        yield []
    yield [(summary(report), "bold")]


def _finding_lines(finding: Finding, width: int) -> Iterator[Line]:
    place = f"    {finding.line}:{finding.column}"
    about = f"{finding.task}: " if finding.task else ""
    first, *rest = _wrapped(_printable(f"{about}{finding.message}"), " " * 14, width)
    yield [(f"{place:<13} ", "dim"), (first.strip(), "")]
    for line in rest:
        yield [(line, "")]


def _printable(text: str) -> str:
    """A text of a file as a terminal may get it: without control characters, and no longer than a paragraph."""
    clipped = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in clipped)


def _wrapped(text: str, indent: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False) or [""]


def summary(report: Report) -> str:
    """One line: how many files and findings, what is accepted, and how many accelerators at once."""
    counts = ", ".join(_plural(report.number(severity), noun) for severity, noun in (
        (Severity.ERROR, "error"), (Severity.WARNING, "warning"), (Severity.INFO, "hint"),
    ))  # fmt: skip
    accepted = len(report.findings) - len(report.counted)
    by_exception = f", {accepted} accepted by an exception" if accepted else ""
    return f"{_plural(len(report.files), 'file')}: {counts}{by_exception}. {_accelerators(report)}"


def _accelerators(report: Report) -> str:
    most = max(report.files, key=lambda each: each.peak.count, default=None)
    loops = sum(len(each.peak.unbounded) for each in report.files)
    tasks = sum(len(each.peak.unknown) for each in report.files)
    if most is None or not (most.peak.count or loops or tasks):
        return "No accelerators."
    kinds = ", ".join(f"{number} {name}" for name, number in most.peak.by_type.items())
    where = f" in {most.file}" if len(report.files) > 1 else ""
    more = f", and more in {_plural(loops, 'loop')} without bound" if loops else ""
    more += f", and more in {_plural(tasks, 'task')} whose number only the run knows" if tasks else ""
    bound = "at least" if more else "at most"
    return f"Accelerators at once: {bound} {most.peak.count} ({kinds}){where}{more}."


def _plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def plain_text(report: Report, least: Severity = Severity.INFO) -> str:
    """The lines without colours."""
    return "\n".join("".join(part for part, _ in line) for line in text_lines(report, least)) + "\n"
