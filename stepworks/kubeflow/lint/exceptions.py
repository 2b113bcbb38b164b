"""Accepting findings that the configuration or a baseline has an exception for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import date
from fnmatch import fnmatchcase

from stepworks.kubeflow.lint.configuration import PlacedException
from stepworks.kubeflow.lint.finding import Finding, Severity
from stepworks.kubeflow.lint.rules import all_rules


def accept(findings: Iterable[Finding], exceptions: Sequence[PlacedException], today: date) -> list[Finding]:
    """Mark each finding that an exception accepts, which has not expired, with the reason and the last day."""
    by_rule: dict[str, list[PlacedException]] = {}
    for each in exceptions:
        if each.exception.expires >= today:
            by_rule.setdefault(each.exception.rule, []).append(each)
    marked = []
    for finding in findings:
        found = next((each for each in by_rule.get(finding.rule, ()) if each.exception.accepts(finding)), None)
        reason = f"{found.exception.reason} (until {found.exception.expires})" if found else ""
        marked.append(replace(finding, accepted=reason))
    return marked


def about_exceptions(
    exceptions: Sequence[PlacedException],
    findings: Sequence[Finding],
    files: Collection[str],
    rules: Collection[str],
    today: date,
) -> list[Finding]:
    """Findings about the exceptions themselves: expired ones, and ones that match nothing that was looked for.

    Args:
        exceptions: The exceptions.
        findings: Everything that was found, accepted or not.
        files: The files that were linted; an exception for others is left alone.
        rules: The rules that were selected.
        today: The day of the check.
    """
    by_rule: dict[str, list[Finding]] = {}
    for finding in findings:
        by_rule.setdefault(finding.rule, []).append(finding)
    found = []
    for each in exceptions:
        exception = each.exception
        looked_for = exception.rule in rules and any(fnmatchcase(file, exception.file) for file in files)
        if exception.expires < today:
            message = f"The exception for {exception.rule} expired on {exception.expires}: {exception.reason}"
            found.append(_about(each, "L01", message))
        elif looked_for and not any(exception.accepts(finding) for finding in by_rule.get(exception.rule, ())):
            message = f"The exception for {exception.rule} ({exception.reason}) matches nothing"
            found.append(_about(each, "L02", message))
    return found


def _about(each: PlacedException, id_: str, message: str) -> Finding:
    rule, exception = all_rules()[id_], each.exception
    subject = f"{exception.rule} {exception.task} {exception.file} {exception.subject}"
    return Finding(id_, Severity(rule.severity), each.file, each.line, 1, "", subject, message, rule.what_to_do)
