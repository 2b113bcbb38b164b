"""Check a table against its contract."""

from kfp.dsl import Artifact, Dataset, Input, Output

from stepworks.kubeflow.component import component


@component("cpu")
def validate_table(table: Input[Dataset], contract: str, validation: Output[Artifact]) -> None:
    """Check a table against its contract, and fail when the table breaks it.

    Args:
        table: The table that was ingested.
        contract: The data contract: a YAML file, or `package://<name>/<path>`.
        validation: The validation document; it is written in either case.
    """
    from pathlib import Path

    from stepworks.data.contract import TableContract
    from stepworks.data.validate import require_passed, validate_table

    document = validate_table(Path(table.path), TableContract.read(contract))
    document.write(validation.path)
    require_passed(document)
