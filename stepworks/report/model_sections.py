"""What the report says about the model: its training, its quality, the verdict."""

from __future__ import annotations

from stepworks.report.documents import (
    Comparison,
    ComparisonDocument,
    Confusion,
    Epoch,
    EvaluationDocument,
    Metric,
    Rule,
    Slice,
    TrainingDocument,
    VerdictDocument,
)
from stepworks.report.markdown import OUTCOME_WORDS
from stepworks.report.marks import Scale, interval_mark
from stepworks.report.markup import Markup, element, join, table
from stepworks.report.plots import auc_plot, calibration_plot, loss_plot, precision_recall_plot, roc_plot
from stepworks.report.section import Section, facts, figure, plots
from stepworks.report.wording import count, duration, interval, metric_name, number, percent, signed

OUTCOME_TONES = {"pass": "good", "fail": "bad", "insufficient_data": "warn", "not_applicable": "quiet"}
_LARGE_SHARE = 0.003
"""The share of the rows from which on a slice's interval has to fit into the drawing."""


def training_section(training: TrainingDocument, name: str) -> Section:
    """The course of training, epoch by epoch."""
    best = training.best
    ended = "no better epoch came" if training.stopped_by == "early_stop" else "all epochs were done"
    of_our_loop = training.stopped_by is not None
    seconds = sum(epoch.seconds for epoch in training.epochs)
    speed = sum(epoch.seconds * epoch.samples_per_second for epoch in training.epochs) / seconds if seconds else 0.0
    content = [
        facts(
            {
                "Model": element("code", training.model),
                "Parameters": None if training.parameters is None else count(training.parameters),
                "Device": training.device,
                "Epochs": f"{len(training.epochs)}, ended because {ended}" if of_our_loop else None,
                "Best epoch": _epoch(best) if best else str(training.best_epoch) if of_our_loop else None,
                "Resumed": None
                if training.resumed_from_epoch is None
                else f"from the checkpoint of epoch {training.resumed_from_epoch}",
                "Speed": f"{count(round(speed))} rows a second, {duration(seconds)} in all" if of_our_loop else None,
            }
        )
    ]
    if training.epochs:
        drawn = [figure(loss_plot(training, f"{name}-loss"), "Loss", "dashed: the best epoch")]
        if any(epoch.validation_auc is not None for epoch in training.epochs):
            drawn.append(figure(auc_plot(training, f"{name}-auc"), "Validation AUC", "dashed: the best epoch"))
        content.append(plots(drawn))
    if training.settings:
        settings = facts({key: element("code", value) for key, value in training.settings.items()})
        content.append(element("details", element("summary", "Settings"), settings))
    return Section("Training", join(content))


def _epoch(epoch: Epoch) -> str:
    figures = {
        "validation AUC": epoch.validation_auc,
        "loss": epoch.train_loss if epoch.validation_loss is None else epoch.validation_loss,
        **{name.removeprefix("validation_").replace("_", " "): value for name, value in epoch.figures.items()},
    }
    told = [f"{name} {number(value, 4)}" for name, value in figures.items() if value is not None]
    return ", ".join([str(epoch.epoch), *told])


def evaluation_section(evaluation: EvaluationDocument, name: str) -> Section:
    """The metrics with their intervals, curves, calibration and slices."""
    share = percent(evaluation.positives / evaluation.rows)
    confidence = f"{100 * evaluation.metrics[0].confidence:g} % interval" if evaluation.metrics else "Interval"
    error = number(evaluation.expected_calibration_error)
    curves = plots(
        [
            figure(roc_plot(evaluation, f"{name}-roc"), "ROC curve"),
            figure(precision_recall_plot(evaluation, f"{name}-pr"), "Precision and recall", f"base rate {share}"),
            figure(
                calibration_plot(evaluation.calibration, f"{name}-calibration"), "Calibration", f"mean error {error}"
            ),
        ]
    )
    metrics = table(
        ["Metric", "Value", confidence, ""],
        map(_metric, evaluation.metrics),
        numbers=[1, 2],
        label="Metrics",
        class_="plain",
    )
    content = [metrics, curves, element("h3", "Decisions"), _confusion(evaluation.confusion)]
    if evaluation.slices:
        content += [element("h3", "Slices"), _slices(evaluation)]
    return Section(
        "Evaluation",
        join(content),
        f"{count(evaluation.rows)} rows not seen in training, {count(evaluation.positives)} positive",
    )


def _metric(metric: Metric) -> list[str]:
    better = "higher is better" if metric.higher_is_better else "lower is better"
    return [metric_name(metric.name), number(metric.value), interval(metric), element("span", better, class_="quiet")]


def _confusion(confusion: Confusion) -> Markup:
    decided = confusion.true_positives + confusion.false_positives
    happened = confusion.true_positives + confusion.false_negatives
    told = [f"At a threshold of {confusion.threshold:g}"]
    if decided:
        told.append(f"{percent(confusion.true_positives / decided)} of the positive decisions are right")
    if happened:
        told.append(f"{percent(confusion.true_positives / happened)} of the positives are found")
    rows = [
        ["was positive", count(confusion.true_positives), count(confusion.false_negatives)],
        ["was negative", count(confusion.false_positives), count(confusion.true_negatives)],
    ]
    return join(
        element("p", ", ".join(told) + "."),
        table(["", "Decided positive", "Decided negative"], rows, numbers=[1, 2], label="Decisions", class_="plain"),
    )


def _slices(evaluation: EvaluationDocument) -> Markup:
    overall = next((metric for metric in evaluation.metrics if metric.name == "auc"), None)
    reference = None if overall is None else overall.value
    # The interval of a few rows would press all others together.
    large = [part.auc for part in evaluation.slices if part.auc and part.rows >= _LARGE_SHARE * evaluation.rows]
    scale = Scale([reference, *(end for found in large for end in (found.value, found.low, found.high))])

    def row(part: Slice, first: bool) -> list[str | None]:
        auc = part.auc
        below = auc is not None and reference is not None and auc.high is not None and auc.high < reference
        return [
            element("b", part.column) if first else None,
            part.value,
            count(part.rows),
            percent(part.target_rate),
            "one class only" if auc is None else number(auc.value),
            None if auc is None else interval(auc),
            None if auc is None else interval_mark(auc, scale, reference, "bad" if below else "accent"),
        ]

    columns = [part.column for part in evaluation.slices]
    rows = [row(part, first=position == columns.index(part.column)) for position, part in enumerate(evaluation.slices)]
    head = ["Column", "Value", "Rows", "Positive", "AUC", "Interval", ""]
    told = "The dashed line is the AUC of all rows; a red interval lies wholly below it."
    return join(element("p", told), table(head, rows, numbers=[2, 3, 4, 5], label="AUC by slice", class_="slices"))


def comparison_section(comparison: ComparisonDocument) -> Section:
    """The candidate's lead over each reference, with its interval."""
    ends = [
        end
        for found in comparison.comparisons
        for end in (found.difference.value, found.difference.low, found.difference.high)
    ]
    scale = Scale([0.0, *ends])

    def row(found: Comparison) -> list[str]:
        difference = found.difference
        ahead = difference.low is not None and difference.low > 0
        behind = difference.high is not None and difference.high < 0
        tone = "good" if ahead else "bad" if behind else "quiet"
        return [
            found.reference,
            metric_name(found.metric),
            number(found.candidate_value, 4),
            number(found.reference_value, 4),
            signed(difference.value, 4),
            interval(difference, 4),
            interval_mark(difference, scale, 0.0, tone),
        ]

    head = ["Against", "Metric", "Candidate", "Reference", "Difference", "Interval", ""]
    told = element("p", "Candidate minus reference, paired by row; the dashed line is no difference.")
    rows = table(
        head, map(row, comparison.comparisons), numbers=[2, 3, 4, 5], label="Differences", class_="differences"
    )
    return Section("Comparison", join(told, rows), "on the same test rows")


def verdict_section(verdict: VerdictDocument) -> Section:
    """What the gate said, rule by rule."""

    def row(rule: Rule) -> list[str]:
        word = element("b", OUTCOME_WORDS[rule.outcome], class_=OUTCOME_TONES[rule.outcome])
        return [word, rule.name, rule.statement]

    said = element("p", OUTCOME_WORDS[verdict.verdict].capitalize(), class_=f"verdict {OUTCOME_TONES[verdict.verdict]}")
    overridden = element("p", f"Overridden: {verdict.override}") if verdict.override else ""
    rules = table(["", "Rule", "What was found"], map(row, verdict.rules), label="Rules")
    return Section("Verdict", join(said, overridden, rules))
