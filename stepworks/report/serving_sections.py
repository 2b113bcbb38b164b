"""What the report says about serving: the check, the registration, the deployment."""

from __future__ import annotations

import shlex

from stepworks.report.documents import (
    DeploymentDocument,
    RegistrationDocument,
    ServingCheckDocument,
)
from stepworks.report.markup import element, join, table
from stepworks.report.section import Section, facts
from stepworks.report.shadow_document import ShadowDocument
from stepworks.report.wording import count, duration, short


def serving_check_section(check: ServingCheckDocument) -> Section:
    """Whether a real server gives the offline answers."""
    said = ("good", "The server answers as the model did") if check.passed else ("bad", "The server answers otherwise")
    content = join(
        element("p", said[1], class_=f"verdict {said[0]}"),
        facts(
            {
                "Server": check.server,
                "Rows asked": count(check.rows),
                "Largest difference": f"{short(check.largest_difference)}, at most {short(check.tolerance)} is allowed",
                "Ready after": duration(check.start_seconds),
                "Latency": f"{check.latency_p50_ms:.1f} ms in the median, {check.latency_p95_ms:.1f} ms at 95 %",
            }
        ),
    )
    return Section("Serving check", content)


def registration_section(registration: RegistrationDocument) -> Section:
    """Where the model is kept."""
    content = facts(
        {
            "Model": f"{registration.name}, version {registration.version}",
            "Digest": element("code", registration.digest),
            "Kept at": element("code", registration.uri),
            "Registered": "by an earlier attempt of this run" if registration.already_registered else None,
        }
    )
    return Section("Registration", content)


def shadow_section(shadow: ShadowDocument) -> Section:
    """Whether a version answers recorded requests as the one that serves does."""
    if shadow.stable_version is None:
        return Section("Shadow comparison", element("p", shadow.reason), shadow.service)
    versions = f"version {shadow.candidate_version} beside {shadow.stable_version}, of which clients saw nothing"
    said = ("good", "The answers agree") if shadow.passed else ("bad", "The answers differ")
    latency = (
        f"{name} {shadow.latency_p50_ms[name]:.1f} ms in the median, {shadow.latency_p95_ms[name]:.1f} ms at 95 %"
        for name in ("stable", "candidate")
    )
    rows = [[short(each.difference), each.stable, each.candidate, each.row] for each in shadow.largest]
    content = join(
        element("p", said[1], class_=f"verdict {said[0]}"),
        element("p", shadow.reason),
        facts({"Allowed to differ": f"{shadow.allowed_share:.1%} of the answers", "Latency": "; ".join(latency)}),
        table(["Difference", "Stable", "Candidate", "Request"], rows, numbers=[0], label="The answers that differ most")
        if rows
        else None,
    )
    return Section("Shadow comparison", content, f"{shadow.service}, {versions}")


def deployment_section(deployment: DeploymentDocument) -> Section:
    """What serves, and what waits for its roll-out."""
    content = facts(
        {
            "Service": deployment.service,
            "Address during the run": element("code", deployment.url),
            "Stable version": deployment.stable_version or "none, nothing served before",
            "Candidate": deployment.candidate_version,
            "Package": element("code", deployment.model_directory),
            "Serve it again": element("code", f"stepworks serve {shlex.quote(deployment.model_directory)}"),
        }
    )
    return Section("Deployment", content)
