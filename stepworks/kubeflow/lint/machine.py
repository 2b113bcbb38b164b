"""Findings as programs read them: JSON of our own, and SARIF 2.1.0."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.metadata import version
from typing import Any
from urllib.parse import quote

from stepworks.kubeflow.lint.check import Report
from stepworks.kubeflow.lint.finding import Finding, Severity
from stepworks.kubeflow.lint.rule import Rule
from stepworks.kubeflow.lint.rules import all_rules

_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def json_text(report: Report) -> str:
    """The report as JSON: files with their accelerators, findings, and those that an exception accepts."""
    document = {
        "version": 1,
        "files": [asdict(each) for each in report.files],
        "findings": [_finding(each) for each in report.counted],
        "accepted": [_finding(each) for each in report.findings if each.accepted],
        "summary": {severity.value: report.number(severity) for severity in Severity},
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _finding(finding: Finding) -> dict[str, Any]:
    return {**asdict(finding), "fingerprint": finding.fingerprint}


def sarif_text(report: Report) -> str:
    """The report as SARIF 2.1.0, which code hosts show beside the lines; accepted findings are suppressed ones."""
    rules = list(all_rules().values())
    indices = {rule.id: index for index, rule in enumerate(rules)}
    run = {
        "tool": {
            "driver": {
                "name": "stepworks lint",
                "semanticVersion": version("stepworks"),
                "rules": [_sarif_rule(rule) for rule in rules],
            }
        },
        "columnKind": "unicodeCodePoints",
        "results": [_sarif_result(each, indices[each.rule]) for each in report.findings],
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False) + "\n"


def _sarif_rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.why},
        "help": {
            "text": f"{rule.why} What to do: {rule.what_to_do}",
            "markdown": f"{rule.why}\n\n**What to do:** {rule.what_to_do}",
        },
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
    }


def _sarif_result(finding: Finding, index: int) -> dict[str, Any]:
    location: dict[str, Any] = {
        "physicalLocation": {
            "artifactLocation": {"uri": quote(finding.file)},
            "region": {"startLine": finding.line, "startColumn": finding.column},
        }
    }
    if finding.task:
        location["logicalLocations"] = [{"fullyQualifiedName": finding.task, "kind": "object"}]
    about = f"{finding.task}: " if finding.task else ""
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "ruleIndex": index,
        "level": _LEVELS[finding.severity],
        "message": {"text": f"{about}{finding.message}. What to do: {finding.what_to_do}"},
        "locations": [location],
        "partialFingerprints": {"stepworksFinding/v1": finding.fingerprint},
    }
    if finding.accepted:
        result["suppressions"] = [{"kind": "external", "justification": finding.accepted}]
    return result
