"""What the step `gate` does: a verdict, written as a document and as a page before the step may fail."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from stepworks.errors import EvaluationError
from stepworks.evaluation.gate import GateSettings, gate
from stepworks.registry.admission import require_pass
from stepworks.report.documents import ComparisonDocument, EvaluationDocument, VerdictDocument
from stepworks.report.markdown import write_verdict


def judge_model(
    evaluation: str | Path,
    comparison: str | Path,
    verdict: str | Path,
    page: str | Path,
    settings: GateSettings,
    override: str = "",
    say: Callable[[str], None] = print,
) -> VerdictDocument:
    """Judge a model, and refuse to go on with one that may not be shipped.

    Args:
        evaluation: The evaluation document.
        comparison: The comparison document.
        verdict: Where the verdict document is written.
        page: Where the verdict is written as Markdown.
        settings: What the model has to keep.
        override: Why one that does not keep it is shipped all the same, and who says so; empty where nobody does. It
            is in the verdict, in the registry, and in an annotation of what serves the model.
        say: Is told when a verdict is overridden.

    Returns:
        The verdict.

    Raises:
        EvaluationError: The verdict is not a pass and nobody overrides it; or the documents are not of one evaluation.
        ResourceError: The disk is full.
    """
    judged = gate(EvaluationDocument.read(evaluation), ComparisonDocument.read(comparison), settings)
    if judged.verdict != "pass" and override.strip():
        judged = judged.model_copy(update={"override": override.strip()})
        say(f"The verdict is {judged.verdict}: {judged.reason}\nIt is overridden: {judged.override}")
    judged.write(verdict)
    write_verdict(page, judged)
    require_pass(judged, "ship the model", EvaluationError)
    return judged
