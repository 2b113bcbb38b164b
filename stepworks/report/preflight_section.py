"""What the report says about the pre-flight check: what is missing first, then the rest."""

from __future__ import annotations

from stepworks.report.markup import element, join, table
from stepworks.report.preflight_document import PreflightDocument, PreflightState
from stepworks.report.section import Section, facts

_ORDER: tuple[PreflightState, ...] = ("missing", "waits", "could not check", "fine")
_LABELS = {
    "missing": "Without these the pipeline cannot run",
    "waits": "It waits for these",
    "could not check": "Nobody could look at these",
    "fine": "As they should be",
}


def preflight_section(preflight: PreflightDocument) -> Section:
    """Whether the cluster can run the pipeline, and why not."""
    unseen = any(check.state == "could not check" for check in preflight.checks)
    tone = "bad" if not preflight.can_run else "unsure" if unseen else "good"
    tables = []
    for state in _ORDER:
        rows = [
            [check.topic, check.subject, join(check.told, element("p", check.what_to_do) if check.what_to_do else None)]
            for check in preflight.checks
            if check.state == state
        ]
        if rows:
            tables.append(table(["What", "Which", "Found"], rows, label=_LABELS[state]))
    content = join(
        element("p", preflight.summary, class_=f"verdict {tone}"),
        facts({"Namespace": preflight.namespace, "ServiceAccount": preflight.service_account}),
        *tables,
    )
    return Section("Pre-flight", content)
