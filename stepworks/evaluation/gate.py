"""Whether a model may be shipped, and why."""

from __future__ import annotations

from dataclasses import dataclass

from stepworks.errors import EvaluationError, ParameterError
from stepworks.evaluation.compare import BASELINE, is_champion
from stepworks.report.documents import (
    Comparison,
    ComparisonDocument,
    EvaluationDocument,
    Rule,
    VerdictDocument,
)
from stepworks.report.wording import signed


@dataclass(frozen=True)
class GateSettings:
    """What a model has to keep.

    Attributes:
        baseline_margin: How far the whole interval of the AUC difference to the baseline must lie above zero.
        champion_margin: How far the interval of the AUC difference to the champion may reach below zero. It is
            what a user would not notice, so that the same training with another seed passes.
        smallest_rows: The fewest rows that a verdict is given on.
        smallest_class: The fewest rows of each class that a verdict is given on.
    """

    baseline_margin: float = 0.0
    champion_margin: float = 0.005
    smallest_rows: int = 1000
    smallest_class: int = 100

    def __post_init__(self) -> None:
        if self.baseline_margin < 0 or self.champion_margin < 0:
            raise ParameterError(
                "A gate's margin is negative",
                received=f"baseline_margin={self.baseline_margin}, champion_margin={self.champion_margin}",
                expected="margins of at least 0, in AUC",
                what_to_do="Correct the margin.",
            )
        if self.smallest_rows < 1 or self.smallest_class < 1:
            raise ParameterError(
                "A gate would judge by no rows",
                received=f"smallest_rows={self.smallest_rows}, smallest_class={self.smallest_class}",
                expected="at least 1 row of each class",
                what_to_do="Correct the number.",
            )


DEFAULT_SETTINGS = GateSettings()


def gate(
    evaluation: EvaluationDocument, comparison: ComparisonDocument, settings: GateSettings = DEFAULT_SETTINGS
) -> VerdictDocument:
    """Judge a model by its intervals.

    Too few rows make the verdict `insufficient_data`, whatever the other rules say; else one failed rule makes it
    `fail`.

    Args:
        evaluation: The candidate on the test rows.
        comparison: The candidate against the baseline, and against the champion where there is one.
        settings: What the model has to keep.

    Raises:
        EvaluationError: The comparison is not of the rows of the evaluation, or lacks the baseline.
    """
    for compared in comparison.comparisons:
        if compared.rows != evaluation.rows:
            raise EvaluationError(
                "The evaluation and the comparison are of different rows",
                received=f"{evaluation.rows} rows evaluated, {compared.rows} compared with the {compared.reference}",
                expected="the same rows",
                what_to_do="Compare the predictions that were evaluated.",
            )
    rules = [
        _enough_data(evaluation, settings),
        _interval_above("ahead of the baseline", _baseline(comparison), settings.baseline_margin),
        *_not_worse_than_champion(comparison, settings.champion_margin),
    ]
    outcomes = {rule.outcome for rule in rules}
    if "insufficient_data" in outcomes:
        return _verdict("insufficient_data", rules)
    return _verdict("fail" if "fail" in outcomes else "pass", rules)


def _verdict(outcome: str, rules: list[Rule]) -> VerdictDocument:
    decisive = [rule for rule in rules if rule.outcome == outcome]
    return VerdictDocument.model_validate(
        {"verdict": outcome, "reason": " ".join(rule.statement for rule in decisive), "rules": rules}
    )


def _enough_data(evaluation: EvaluationDocument, settings: GateSettings) -> Rule:
    smaller = min(evaluation.positives, evaluation.rows - evaluation.positives)
    enough = evaluation.rows >= settings.smallest_rows and smaller >= settings.smallest_class
    return Rule(
        name="enough data",
        outcome="pass" if enough else "insufficient_data",
        statement=(
            f"{evaluation.rows:,} rows were evaluated, {smaller:,} in the rarer class; "
            f"a verdict needs {settings.smallest_rows:,} and {settings.smallest_class:,}."
        ),
    )


def _baseline(comparison: ComparisonDocument) -> Comparison:
    found = [compared for compared in comparison.comparisons if compared.reference == BASELINE]
    if not found:
        raise EvaluationError(
            "The candidate was not compared with the baseline",
            received=f"references: {', '.join(compared.reference for compared in comparison.comparisons) or 'none'}",
            expected=f"the reference {BASELINE!r}",
            what_to_do="Run the compare step with the baseline's keys.",
        )
    return found[0]


def _not_worse_than_champion(comparison: ComparisonDocument, margin: float) -> list[Rule]:
    name = "not worse than the champion"
    champions = [compared for compared in comparison.comparisons if is_champion(compared.reference)]
    if not champions:
        return [Rule(name=name, outcome="not_applicable", statement="There is no champion yet.")]
    return [_interval_above(name, compared, -margin) for compared in champions]


def _interval_above(name: str, compared: Comparison, bound: float) -> Rule:
    low = compared.difference.low
    return Rule(
        name=name,
        outcome="insufficient_data" if low is None else "pass" if low > bound else "fail",
        statement=f"{_difference(compared)}; the whole interval must lie above {signed(bound, 4)}.",
    )


def _difference(compared: Comparison) -> str:
    interval = compared.difference
    bounds = (
        "no interval, too few rows"
        if interval.low is None or interval.high is None
        else f"{interval.confidence * 100:g} % interval {signed(interval.low, 4)} to {signed(interval.high, 4)}"
    )
    reference = compared.reference if is_champion(compared.reference) else f"the {compared.reference}"
    return (
        f"AUC {compared.candidate_value:.4f} against {compared.reference_value:.4f} of {reference}: "
        f"{signed(interval.value, 4)} ({bounds})"
    )
