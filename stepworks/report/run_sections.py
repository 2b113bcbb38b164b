"""What the report says about the run itself: how it went, where the time went, what it was made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stepworks.report.canary_document import CanaryDocument
from stepworks.report.documents import (
    ComparisonDocument,
    Document,
    EvaluationDocument,
    VerdictDocument,
)
from stepworks.report.graph import step_graph
from stepworks.report.markdown import OUTCOME_WORDS
from stepworks.report.markup import Child, Markup, element, join
from stepworks.report.model_sections import OUTCOME_TONES
from stepworks.report.run_record import RunRecord, StepRecord
from stepworks.report.section import Section, facts, strip
from stepworks.report.wording import (
    CANARY_OUTCOMES,
    duration,
    interval,
    metric_name,
    moment,
    number,
    percent,
    plural,
    signed,
)

_STATES = {
    "succeeded": ("good", "Succeeded"),
    "failed": ("bad", "Failed"),
    "cancelled": ("warn", "Cancelled"),
    "running": ("quiet", "Running"),
}
_LONGEST_PARAMETER = 120


def header(run: RunRecord, documents: Sequence[Document]) -> Markup:
    """The run in a glance: its state, and its few most important figures."""
    tone, word = _STATES[run.state]
    state = join(element("b", word, class_=tone), f" after {duration(run.seconds)}, started {moment(run.started)}")
    figures = [
        element("div", element("dt", name), element("dd", value, element("small", explanation)))
        for name, value, explanation in _headline(documents)
    ]
    return element(
        "header",
        element("p", f"Run {run.run_id}", class_="kicker"),
        element("h1", f"{run.pipeline} ", element("span", run.version, class_="quiet")),
        element("p", state, class_="state"),
        element("dl", figures, class_="headline") if figures else None,
    )


def _headline(documents: Sequence[Document]) -> list[tuple[str, Child, str]]:
    found: list[tuple[str, Child, str]] = []
    for document in documents:
        if isinstance(document, EvaluationDocument) and document.metrics:
            metric = document.metrics[0]
            about = f"{100 * metric.confidence:g} % interval {interval(metric)}"
            found.append((f"Test {metric_name(metric.name)}", number(metric.value), about))
        elif isinstance(document, ComparisonDocument) and document.comparisons:
            first = document.comparisons[0]
            about = f"{metric_name(first.metric)}, interval {interval(first.difference)}"
            found.append((f"Against the {first.reference}", signed(first.difference.value), about))
        elif isinstance(document, VerdictDocument):
            passed = sum(rule.outcome == "pass" for rule in document.rules)
            word = element("span", OUTCOME_WORDS[document.verdict].capitalize(), class_=OUTCOME_TONES[document.verdict])
            applied = [rule for rule in document.rules if rule.outcome != "not_applicable"]
            overridden = ", and overridden" if document.override else ""
            found.append(("Verdict", word, f"{passed} of {plural(len(applied), 'rule')} passed{overridden}"))
        elif isinstance(document, CanaryDocument) and not document.rehearsal:
            stages = f"after {plural(len(document.stages), 'stage')}" if document.stages else "by an earlier attempt"
            about = f"version {document.candidate_version}, {stages}"
            found.append(("Canary", CANARY_OUTCOMES[document.outcome], about))
    return found


def failure_section(step: StepRecord) -> Section:
    """Why a step failed, and where its log is."""
    content = join(
        element("pre", step.error or "The step left no message."),
        element("p", "Its log: ", element("code", step.log)) if step.log else None,
    )
    attempts = f", {plural(step.attempts, 'attempt')}" if step.attempts > 1 else ""
    return Section("What failed", content, f"{step.name}, after {duration(step.seconds)}{attempts}")


def steps_section(run: RunRecord, links: Mapping[str, str]) -> Section:
    """The graph of the steps, and where the time went."""
    timed = [(step.name, step.seconds) for step in run.steps if step.seconds]
    worked = sum(seconds for _, seconds in timed)
    longest = sorted(timed, key=lambda step: -step[1])[:5]
    legend = [
        element("li", element("b", name), f" {duration(seconds)}, {percent(seconds / worked, 0)}")
        for name, seconds in longest
    ]
    content = join(
        step_graph(run.steps, 5, links),
        step_graph(run.steps, 2, links),
        element("h3", "Where the time went") if timed else None,
        strip(timed, strong=[name for name, _ in longest[:1]]) if timed else None,
        element("ul", legend, class_="legend") if timed else None,
    )
    done = sum(step.state == "succeeded" for step in run.steps)
    return Section(
        "Steps", content, f"{done} of {plural(len(run.steps), 'step')} succeeded, {duration(worked)} of work"
    )


def lineage_section(run: RunRecord) -> Section:
    """What the run was made of, so that it can be made again."""
    versions = ", ".join(f"{name}\N{NO-BREAK SPACE}{version}" for name, version in run.package_versions.items())
    content = join(
        facts(
            {
                "Data": element("code", f"sha256:{run.data_digest}") if run.data_digest else "not recorded",
                "Code": element("code", run.code_revision) if run.code_revision else "not in a checkout",
                "Versions": versions or None,
            }
        ),
        element("h3", "Parameters") if run.parameters else None,
        facts({name: _parameter(value) for name, value in run.parameters.items()}),
    )
    return Section("Lineage", content, "what the run was made of")


def _parameter(value: str) -> Markup:
    if len(value) <= _LONGEST_PARAMETER and "\n" not in value:
        return element("code", value)
    summary = element("summary", f"{plural(len(value.splitlines()), 'line')} of text")
    return element("details", summary, element("pre", value))
