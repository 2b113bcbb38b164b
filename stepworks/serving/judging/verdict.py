"""Whether a candidate goes on, is promoted, or goes back: a pure function of all windows so far."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from stepworks.report.canary_document import CanaryDecision, CanaryEvidence, MetricName
from stepworks.serving.judging.bounds import Table, difference_bound, lower_bound, pooled, upper_bound
from stepworks.serving.judging.counts import Window
from stepworks.serving.judging.evidence import LabelEvidence
from stepworks.serving.judging.guards import refusal, stale_seconds
from stepworks.serving.judging.metrics import WORDS, tables
from stepworks.serving.judging.settings import JudgeSettings, LatencyRule, MetricRule

_LARGEST_EVIDENCE = 1e12
"""What is written down for more; a document holds no infinity."""


@dataclass(frozen=True)
class Goal:
    """What a stage asks for.

    Attributes:
        candidate_requests: How many requests of the candidate it wants to see.
        conclusive: Whether it ends only when each required margin is proven.
        last: Whether the promotion follows.
    """

    candidate_requests: int
    conclusive: bool
    last: bool


@dataclass(frozen=True)
class Judgement:
    """What is decided, why, and what each metric said in the last window.

    `continue` and `promote` end a stage well, `insufficient_data` and `stale` leave it as it is, and `refused` says
    that what was counted cannot be judged.
    """

    decision: CanaryDecision
    reason: str
    evidence: tuple[CanaryEvidence, ...] = ()


@dataclass(frozen=True)
class _Finding:
    """One metric over all windows. `all_alone` is what the candidate did without a stable version beside it."""

    metric: MetricName
    rule: MetricRule
    compared: Table
    all_alone: Table
    largest: float
    last: CanaryEvidence


def judge(windows: Sequence[Window], goal: Goal, settings: JudgeSettings) -> Judgement:
    """Judge a roll-out.

    Whatever is found against the candidate at any time rolls it back, whether the stage has seen enough or not. Next
    comes what forbids to judge, then what the stage still lacks.

    Args:
        windows: All windows so far, the last one of the current stage; at least one.
        goal: What the current stage asks for.
        settings: What is allowed.
    """
    findings = [_find(metric, rule, windows, settings) for metric, rule in settings.rules.items()]
    evidence = tuple(finding.last for finding in findings)
    decision, reason = _decide(windows, findings, goal, settings)
    return Judgement(decision, reason, evidence)


def _decide(
    windows: Sequence[Window], findings: list[_Finding], goal: Goal, settings: JudgeSettings
) -> tuple[CanaryDecision, str]:
    if refused := refusal(windows, settings):
        # In the first window of a stage some of the traffic may still be shared as it was before.
        has_settled = sum(each.percent == windows[-1].percent for each in windows) > 1
        return "refused" if has_settled else "insufficient_data", refused
    for finding in findings:
        if reason := _against(finding, settings):
            return "roll_back", reason
    if seconds := stale_seconds(windows):
        told = windows[-1].problem or "Neither version answered a request."
        return "stale", f"There have been no new counts for {seconds:.0f} s. {told}"
    stage = [each for each in windows if each.percent == windows[-1].percent and not (each.warm_up or each.problem)]
    answered = sum(each.candidate.requests for each in stage)
    if answered < goal.candidate_requests:
        return (
            "insufficient_data",
            f"The candidate answered {answered:,} requests; this stage asks for {goal.candidate_requests:,}.",
        )
    for finding in findings:
        required = finding.rule.required and _can_be_judged(finding.rule, windows)
        open_question = required if goal.conclusive else finding.last.evidence >= settings.doubt
        if open_question and (lacking := _lacking(finding, settings)):
            return "insufficient_data", lacking
    told = ", ".join(_in_short(finding) for finding in findings)
    return "promote" if goal.last else "continue", f"Nothing speaks against the candidate: {told}."


def _can_be_judged(rule: MetricRule, windows: Sequence[Window]) -> bool:
    """Whether there is anything to judge by: what is slow is not known of a first version without a limit."""
    first_version = all(window.stable is None for window in windows)
    return not (first_version and isinstance(rule, LatencyRule) and rule.limit_ms is None)


def _find(metric: MetricName, rule: MetricRule, windows: Sequence[Window], settings: JudgeSettings) -> _Finding:
    alpha = settings.metric_alpha
    limited = LabelEvidence(
        alpha,
        tolerance=rule.tolerance,
        window_weight=settings.window_weight,
        dropped_windows=settings.dropped_windows,
    )
    largest = -math.inf
    stages: dict[int, list[Table]] = {}
    alone: list[Table] = []
    last = Table(0, 0, 0, 0)
    for window, table in zip(windows, tables(metric, windows, settings), strict=True):
        last = Table(0, 0, 0, 0) if table is None or window.warm_up else table
        arms = (last.candidate, last.candidate_bad, last.stable, last.stable_bad)
        limited.add(*arms)
        largest = max(largest, float(limited.logarithm))
        if window.stable is None or window.percent == 100:
            alone.append(last)
        elif not window.problem:
            stages.setdefault(window.percent, []).append(last)
    return _Finding(
        metric=metric,
        rule=rule,
        compared=pooled([_sum(stage) for stage in stages.values()]),
        all_alone=_sum(alone),
        largest=largest,
        last=CanaryEvidence(
            metric=metric,
            candidate=int(last.candidate),
            candidate_bad=int(last.candidate_bad),
            stable=int(last.stable),
            stable_bad=int(last.stable_bad),
            evidence=min(math.exp(min(float(limited.logarithm), 700)), _LARGEST_EVIDENCE),
            needed=1 / alpha,
        ),
    )


def _against(finding: _Finding, settings: JudgeSettings) -> str:
    """Why the candidate goes back; empty when nothing is found against it."""
    alpha = settings.metric_alpha
    if finding.largest >= math.log(1 / alpha):
        allowed = "no worse" if finding.rule.tolerance == 1 else f"at most {finding.rule.tolerance:g} times as bad"
        return (
            f"{_told(finding)} Chance alone shows so much in fewer than 1 of {1 / alpha:.0f} roll-outs of a version "
            f"that is {allowed}."
        )
    alone = finding.all_alone
    if lower_bound(alone.candidate_bad, alone.candidate, alpha) > finding.rule.ceiling:
        return (
            f"{_told_alone(finding)} At most {finding.rule.ceiling:.0%} are allowed where there is no stable version "
            "to compare with."
        )
    return ""


def _lacking(finding: _Finding, settings: JudgeSettings) -> str:
    """What a metric still lacks for a promotion; empty when its margin is proven."""
    noun, verb = WORDS[finding.metric]
    if finding.compared.candidate:
        seen, allowed = finding.compared.candidate, finding.rule.margin
        bound = difference_bound(finding.compared, settings.promotion_alpha)
        text = f"{_told(finding)} So up to {bound:.1%} more of the candidate's {noun} may be such"
    else:
        alone = finding.all_alone
        seen, allowed = alone.candidate, finding.rule.ceiling
        bound = float(upper_bound(alone.candidate_bad, alone.candidate, settings.promotion_alpha))
        text = f"{_told_alone(finding)} So up to {bound:.1%} may be such"
    if not seen:
        return f"None of the candidate's {noun} could be judged, so it is not known how many {verb}."
    if seen < settings.minimum_requests:
        return f"{seen:,.0f} of the candidate's {noun} could be judged; {settings.minimum_requests:,} are needed."
    return "" if bound < allowed else f"{text}; less than {allowed:.1%} has to be proven."


def _in_short(finding: _Finding) -> str:
    """The shares in a part of a sentence."""
    noun, verb = WORDS[finding.metric]
    table = finding.compared
    if table.candidate:
        ours, theirs = table.candidate_bad / table.candidate, table.stable_bad / table.stable
        return f"{ours:.1%} of {table.candidate:,.0f} {noun} {verb} ({theirs:.1%} of the stable version's)"
    table = finding.all_alone
    if table.candidate:
        return f"{table.candidate_bad / table.candidate:.1%} of {table.candidate:,.0f} {noun} {verb}"
    return f"it is not known how many {noun} {verb}"


def _told(finding: _Finding) -> str:
    """The counts in a sentence."""
    table = finding.compared
    if not table.candidate:
        return _told_alone(finding)
    noun, verb = WORDS[finding.metric]
    return (
        f"{table.candidate_bad:,.0f} of the candidate's {table.candidate:,.0f} {noun} {verb} "
        f"({table.candidate_bad / table.candidate:.1%}), and {table.stable_bad / table.stable:.1%} of the stable "
        "version's."
    )


def _told_alone(finding: _Finding) -> str:
    table = finding.all_alone
    noun, verb = WORDS[finding.metric]
    if not table.candidate:
        return f"It is not known how many {noun} {verb}."
    return (
        f"{table.candidate_bad:,.0f} of the candidate's {table.candidate:,.0f} {noun} {verb} "
        f"({table.candidate_bad / table.candidate:.1%})."
    )


def _sum(found: Sequence[Table]) -> Table:
    return Table(
        sum(each.candidate for each in found),
        sum(each.candidate_bad for each in found),
        sum(each.stable for each in found),
        sum(each.stable_bad for each in found),
    )
