"""Let a model through, or not."""

from kfp.dsl import Artifact, Input, Markdown, Output

from stepworks.kubeflow.component import component


@component("cpu")
def gate(
    evaluation: Input[Artifact],
    comparison: Input[Artifact],
    champion_margin: float,
    verdict: Output[Artifact],
    page: Output[Markdown],
) -> None:
    """Judge a model by its intervals; the step fails when the model may not be shipped.

    Args:
        evaluation: The evaluation document.
        comparison: The comparison document.
        champion_margin: How far the AUC may be below the champion's, the whole interval counted.
        verdict: The verdict document, written before the step fails.
        page: The verdict for the Kubeflow UI.
    """
    from stepworks.evaluation.gate import GateSettings, gate, require_pass
    from stepworks.report.documents import ComparisonDocument, EvaluationDocument
    from stepworks.report.markdown import write_verdict

    judged = gate(
        EvaluationDocument.read(evaluation.path),
        ComparisonDocument.read(comparison.path),
        GateSettings(champion_margin=champion_margin),
    )
    judged.write(verdict.path)
    write_verdict(page.path, judged)
    require_pass(judged)
