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
    baseline_margin: float = 0.0,
    smallest_rows: int = 1000,
    smallest_class: int = 100,
    override: str = "",
) -> None:
    """Judge a model by its intervals; the step fails when the model may not be shipped.

    Args:
        evaluation: The evaluation document.
        comparison: The comparison document.
        champion_margin: How far the AUC may be below the champion's, the whole interval counted.
        verdict: The verdict document, written before the step fails.
        page: The verdict for the Kubeflow UI.
        baseline_margin: How far the AUC must be above the baseline's, the whole interval counted.
        smallest_rows: The fewest test rows that a verdict is given on.
        smallest_class: The fewest test rows of the rarer class that a verdict is given on.
        override: Why a model that fails is shipped all the same, and who says so; it is kept with the version.
    """
    from stepworks.evaluation.gate import GateSettings
    from stepworks.evaluation.step import judge_model

    settings = GateSettings(baseline_margin, champion_margin, smallest_rows, smallest_class)
    judge_model(evaluation.path, comparison.path, verdict.path, page.path, settings, override)
