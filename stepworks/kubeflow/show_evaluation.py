"""An evaluation in the Kubeflow UI."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kfp.dsl import ClassificationMetrics, Metrics

    from stepworks.report.documents import EvaluationDocument


def show_evaluation(document: EvaluationDocument, metrics: Metrics, curves: ClassificationMetrics) -> None:
    """Write an evaluation into the artifacts that the Kubeflow UI shows.

    Args:
        document: The evaluation.
        metrics: Gets each metric.
        curves: Gets the ROC curve, and the confusion matrix at the evaluation's threshold.
    """
    for metric in document.metrics:
        metrics.log_metric(metric.name, metric.value)
    curves.log_roc_curve(document.roc.x, document.roc.y, document.roc.thresholds)
    table = document.confusion
    rows = [[table.true_negatives, table.false_positives], [table.false_negatives, table.true_positives]]
    curves.log_confusion_matrix(["0", "1"], rows)
