"""What the report says about a canary: its stages, and what spoke against the candidate in each window."""

from __future__ import annotations

import math
from collections.abc import Iterator

from stepworks.report.canary_document import (
    CanaryArm,
    CanaryDocument,
    CanaryEvidence,
    CanaryStage,
    CanaryWindow,
    MetricName,
)
from stepworks.report.marks import bar_mark
from stepworks.report.markup import Child, Markup, element, join, table
from stepworks.report.section import Section
from stepworks.report.wording import CANARY_OUTCOMES, count, duration, plural, short

_OUTCOME_TONES = {"promoted": "good", "rolled_back": "bad", "held": "warn"}
_DECISIONS = {
    "continue": ("quiet", "continue"),
    "promote": ("good", "promote"),
    "roll_back": ("bad", "roll back"),
    "insufficient_data": ("warn", "insufficient data"),
    "stale": ("warn", "no new counts"),
    "refused": ("warn", "not judged"),
    "not_approved": ("warn", "not approved"),
}
_METRICS: dict[MetricName, str] = {"errors": "Failed", "latency": "Slow", "answers": "Wrong answers"}
_WINDOWS_SHOWN = 24
"""More windows than this are folded away."""


def canary_section(canary: CanaryDocument) -> Section:
    """The course of a roll-out, stage by stage and window by window."""
    versions = (
        f"{canary.candidate_version} for the first time"
        if canary.stable_version is None
        else f"{canary.candidate_version} beside {canary.stable_version}"
    )
    content = join(
        element("p", CANARY_OUTCOMES[canary.outcome], class_=f"verdict {_OUTCOME_TONES[canary.outcome]}"),
        element("p", canary.reason),
        [element("p", line, class_="quiet") for line in canary.forecast],
        _stages(canary.stages) if canary.stages else None,
        _windows(canary),
    )
    title = "Canary, rehearsed" if canary.rehearsal else "Canary"
    told = "rehearsal: a bad version on purpose, " if canary.rehearsal else ""
    return Section(title, content, f"{told}{canary.service}, {versions}")


def _stages(stages: list[CanaryStage]) -> Markup:
    head = ["Traffic", "", "Arm", "Requests", "Errors", "Wrong", "p50, ms", "p95, ms", "Decision"]
    rows = [_stage(stage) for stage in stages]
    return table(head, rows, numbers=[0, 3, 4, 5, 6, 7], label="Stages of the roll-out", class_="stages")


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


def _windows(canary: CanaryDocument) -> Markup | None:
    """The counts and the evidence of every window; nothing where no window was kept."""
    windows = [window for stage in canary.stages for window in stage.windows]
    judged = {each.metric for window in windows for each in window.evidence}
    metrics = [metric for metric in _METRICS if metric in judged]
    if not metrics:
        return None
    needed = max(each.needed for window in windows for each in window.evidence)
    arms = "the candidate's" if canary.stable_version is None else "the candidate's, then the stable version's"
    explanation = (
        f"Bad requests of all in the window: {arms}. Behind them the evidence against the candidate so far: about 1 or "
        f"less while nothing speaks against it; at {needed:,.0f}, a full bar, it is rolled back."
    )
    rows = (row for stage in canary.stages for row in _stage_windows(stage, metrics))
    found = table(
        ["Traffic", "Window", *(_METRICS[metric] for metric in metrics)],
        rows,
        numbers=[0],
        label="Windows of the roll-out",
        class_="windows",
    )
    return element(
        "details",
        element("summary", f"The evidence, {plural(len(windows), 'window')}"),
        element("p", explanation, class_="quiet"),
        found,
        open=len(windows) <= _WINDOWS_SHOWN,
    )


def _stage_windows(stage: CanaryStage, metrics: list[MetricName]) -> Iterator[list[Child]]:
    for number, window in enumerate(stage.windows):
        found = {each.metric: each for each in window.evidence}
        compared = stage.stable is not None and stage.percent < 100
        yield [
            f"{stage.percent} %" if number == 0 else "",
            _window(number, window),
            *(_evidence(found[metric], compared=compared) if metric in found else "" for metric in metrics),
        ]


def _window(number: int, window: CanaryWindow) -> Markup:
    note = element("div", window.note, class_="quiet") if window.note else None
    return join(f"{number + 1} ", element("span", f"({duration(window.seconds)})", class_="quiet"), note)


def _evidence(found: CanaryEvidence, *, compared: bool) -> Markup:
    """The counts of one metric in one window, and a bar of the evidence, by its logarithm."""
    counts = f"{count(found.candidate_bad)} of {count(found.candidate)}"
    if not compared:
        return element("div", counts if found.candidate else "\N{EM DASH}")
    if not found.candidate and not found.stable:
        counts = "\N{EM DASH}"
    else:
        counts += f", {count(found.stable_bad)} of {count(found.stable)}"
    share = math.log(max(found.evidence, 1.0)) / math.log(found.needed)
    bar = bar_mark(share, "bad" if share >= 1 else "accent")
    told = f"{found.evidence:.2g}" if found.evidence < 99.5 else short(round(found.evidence))
    weight = element("span", told, class_="bad" if share >= 1 else "quiet")
    return join(element("div", counts), element("div", bar, weight, class_="weight"))
