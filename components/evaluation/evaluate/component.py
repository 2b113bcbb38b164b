"""Evaluate a model on rows it has not seen."""

from kfp.dsl import HTML, Artifact, ClassificationMetrics, Dataset, Input, Metrics, Model, Output

from stepworks.kubeflow.component import component


@component("gpu")
def evaluate(
    model: Input[Model],
    features: Input[Dataset],
    test: Input[Dataset],
    slices: list[str],
    predictions: Output[Dataset],
    evaluation: Output[Artifact],
    metrics: Output[Metrics],
    curves: Output[ClassificationMetrics],
    page: Output[HTML],
    threshold: float = 0.5,
) -> None:
    """Predict the test rows and compute metrics with intervals, slices, calibration and curves.

    Args:
        model: A model folder that the train step wrote.
        features: The test rows, encoded by the model's transform.
        test: The same rows, raw.
        slices: Columns of `test` to compute the AUC by.
        predictions: The row, its outcome and the predicted probability.
        evaluation: The evaluation document.
        metrics: The metrics for the Kubeflow UI.
        curves: The ROC curve and the confusion matrix for the Kubeflow UI.
        page: The evaluation as a page for the Kubeflow UI.
        threshold: Rows with at least this probability are decided for the class 1.
    """
    from pathlib import Path

    from stepworks.evaluation.evaluate import EvaluationSettings, evaluate
    from stepworks.evaluation.predictions import write_predictions
    from stepworks.kubeflow.show_evaluation import show_evaluation
    from stepworks.report.page import write_page
    from stepworks.training.predict import predict

    write_predictions(predict(Path(model.path), Path(features.path)), Path(predictions.path))
    document = evaluate(Path(predictions.path), Path(test.path), slices, EvaluationSettings(threshold))
    document.write(evaluation.path)
    show_evaluation(document, metrics, curves)
    write_page(page.path, "Evaluation", document)
