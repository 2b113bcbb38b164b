"""Describe what a table holds."""

from kfp.dsl import HTML, Artifact, Dataset, Input, Output

from stepworks.kubeflow.component import component


@component("cpu")
def profile_table(table: Input[Dataset], contract: str, profile: Output[Artifact], page: Output[HTML]) -> None:
    """Describe what each column of a table holds.

    Args:
        table: The table that was ingested.
        contract: The data contract: a YAML file, or `package://<name>/<path>`.
        profile: The profile document.
        page: The profile as a page for the Kubeflow UI.
    """
    from pathlib import Path

    from stepworks.data.contract import TableContract
    from stepworks.data.profile import profile_table
    from stepworks.report.page import write_page

    # Numbers in the metadata of an artifact come back as floats.
    dropped = {rule: int(rows) for rule, rows in table.metadata.get("dropped_rows", {}).items()}
    document = profile_table(Path(table.path), TableContract.read(contract), dropped)
    document.write(profile.path)
    write_page(page.path, f"Profile of {document.table}", document)
