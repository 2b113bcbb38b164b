"""Split a table by time."""

from kfp.dsl import Artifact, Dataset, Input, Output

from stepworks.kubeflow.component import component


@component("cpu")
def split_table(
    table: Input[Dataset],
    contract: str,
    validation_from: str,
    test_from: str,
    train: Output[Dataset],
    validation: Output[Dataset],
    test: Output[Dataset],
    split: Output[Artifact],
) -> None:
    """Split a table by time.

    Args:
        table: The table that was ingested.
        contract: The data contract: a YAML file, or `package://<name>/<path>`.
        validation_from: The first moment of validation, itself included (ISO 8601); train is before.
        test_from: The first moment of test, itself included (ISO 8601); validation is before.
        train: The rows to learn from.
        validation: The rows to tune on.
        test: The rows to judge by.
        split: The split document.
    """
    from pathlib import Path

    from stepworks.data.contract import TableContract
    from stepworks.data.split import split_by_time

    parts = {"train": Path(train.path), "validation": Path(validation.path), "test": Path(test.path)}
    contract_ = TableContract.read(contract)
    split_by_time(Path(table.path), contract_, validation_from, test_from, **parts).write(split.path)
