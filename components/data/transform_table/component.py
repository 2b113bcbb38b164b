"""Encode features for a model."""

from kfp.dsl import Artifact, Dataset, Input, Output

from stepworks.kubeflow.component import component


@component("cpu")
def transform_table(
    train: Input[Dataset],
    validation: Input[Dataset],
    test: Input[Dataset],
    contract: str,
    transform: Output[Artifact],
    train_features: Output[Dataset],
    validation_features: Output[Dataset],
    test_features: Output[Dataset],
) -> None:
    """Fit a transform on the training rows, and encode all three parts with it.

    Args:
        train: The rows to learn from; the transform is fitted on these only.
        validation: The rows to tune on.
        test: The rows to judge by.
        contract: The data contract: a YAML file, or `package://<name>/<path>`.
        transform: A folder with the transform's parameters.
        train_features: The encoded training rows.
        validation_features: The encoded validation rows.
        test_features: The encoded test rows.
    """
    from pathlib import Path

    from stepworks.data.contract import TableContract
    from stepworks.data.transform import apply_transform, fit_transform

    parameters = fit_transform(Path(train.path), TableContract.read(contract))
    parameters.write(transform.path)
    for part, features in ((train, train_features), (validation, validation_features), (test, test_features)):
        apply_transform(Path(part.path), parameters, Path(features.path))
