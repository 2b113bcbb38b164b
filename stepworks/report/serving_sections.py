"""What the report says about serving: the check, the registration, the deployment, the canary."""

from __future__ import annotations

import shlex

from stepworks.report.documents import (
    CanaryArm,
    CanaryDocument,
    CanaryStage,
    DeploymentDocument,
    RegistrationDocument,
    ServingCheckDocument,
)
from stepworks.report.marks import bar_mark
from stepworks.report.markup import element, join, table
from stepworks.report.section import Section, facts
from stepworks.report.wording import CANARY_OUTCOMES, count, duration, short

_OUTCOME_TONES = {"promoted": "good", "rolled_back": "bad", "held": "warn"}
_DECISIONS = {
    "continue": ("quiet", "continue"),
    "promote": ("good", "promote"),
    "roll_back": ("bad", "roll back"),
    "insufficient_data": ("warn", "insufficient data"),
}


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


def canary_section(canary: CanaryDocument) -> Section:
    """The course of a roll-out, stage by stage."""
    versions = (
        f"{canary.candidate_version} for the first time"
        if canary.stable_version is None
        else f"{canary.candidate_version} beside {canary.stable_version}"
    )
    head = ["Traffic", "", "Arm", "Requests", "Errors", "Wrong", "p50, ms", "p95, ms", "Decision"]
    rows = [_stage(stage) for stage in canary.stages]
    content = join(
        element("p", CANARY_OUTCOMES[canary.outcome], class_=f"verdict {_OUTCOME_TONES[canary.outcome]}"),
        element("p", canary.reason),
        table(head, rows, numbers=[0, 3, 4, 5, 6, 7], label="Stages of the roll-out", class_="stages")
        if rows
        else None,
    )
    title = "Canary, rehearsed" if canary.rehearsal else "Canary"
    told = "rehearsal: a bad version on purpose, " if canary.rehearsal else ""
    return Section(title, content, f"{told}{canary.service}, {versions}")


def _stage(stage: CanaryStage) -> list[str]:
    tone, word = _DECISIONS[stage.decision]
    share = bar_mark(stage.percent / 100, "bad" if stage.decision == "roll_back" else "accent")
    took = element("span", f" ({duration(stage.seconds)})", class_="quiet")
    decision = join(element("b", word, class_=tone), f": {stage.reason}", took)
    arms = [_arm("candidate", stage.candidate)]
    if stage.stable is not None:
        arms.append(_arm("stable", stage.stable))
    lines = (join(*(element("div", value) for value in column)) for column in zip(*arms, strict=True))
    return [f"{stage.percent} %", share, *lines, decision]


def _arm(name: str, arm: CanaryArm) -> list[str]:
    latencies = [
        "\N{EM DASH}" if value is None else f"{value:.1f}" for value in (arm.latency_p50_ms, arm.latency_p95_ms)
    ]
    return [name, count(arm.requests), count(arm.errors), count(arm.wrong_answers), *latencies]
