"""Accepting findings that the configuration or a baseline has an exception for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import date
from fnmatch import fnmatchcase

from stepworks.kubeflow.lint.configuration import PlacedExemption
from stepworks.kubeflow.lint.finding import Finding, Severity
from stepworks.kubeflow.lint.rules import all_rules


def accept(findings: Iterable[Finding], exemptions: Sequence[PlacedExemption], today: date) -> list[Finding]:
    """Mark each finding that an exception accepts, which has not expired, with the reason and the last day."""
    by_rule: dict[str, list[PlacedExemption]] = {}
    for each in exemptions:
        if each.exemption.expires >= today:
            by_rule.setdefault(each.exemption.rule, []).append(each)
    marked = []
    for finding in findings:
        found = next((each for each in by_rule.get(finding.rule, ()) if each.exemption.accepts(finding)), None)
        reason = f"{found.exemption.reason} (until {found.exemption.expires})" if found else ""
        marked.append(replace(finding, accepted=reason))
    return marked


def about_exemptions(
    exemptions: Sequence[PlacedExemption],
    findings: Sequence[Finding],
    files: Collection[str],
    rules: Collection[str],
    today: date,
) -> list[Finding]:
    """Findings about the exceptions themselves: expired ones, and ones that match nothing that was looked for.

    Args:
        exemptions: The exceptions.
        findings: Everything that was found, accepted or not.
        files: The files that were linted; an exception for others is left alone.
        rules: The rules that were selected.
        today: The day of the check.
    """
    by_rule: dict[str, list[Finding]] = {}
    for finding in findings:
        by_rule.setdefault(finding.rule, []).append(finding)
    found = []
    for each in exemptions:
        exemption = each.exemption
        looked_for = exemption.rule in rules and any(fnmatchcase(file, exemption.file) for file in files)
        if exemption.expires < today:
            message = f"The exception for {exemption.rule} expired on {exemption.expires}: {exemption.reason}"
            found.append(_about(each, "L01", message))
        elif looked_for and not any(exemption.accepts(finding) for finding in by_rule.get(exemption.rule, ())):
            message = f"The exception for {exemption.rule} ({exemption.reason}) matches nothing"
            found.append(_about(each, "L02", message))
    return found


def _about(each: PlacedExemption, id_: str, message: str) -> Finding:
    rule, exemption = all_rules()[id_], each.exemption
    subject = f"{exemption.rule} {exemption.task} {exemption.file} {exemption.subject}"
    line, column = each.position
    return Finding(id_, Severity(rule.severity), each.file, line, column, "", subject, message, rule.what_to_do)
