"""Make one table of the source's files."""

from kfp.dsl import Dataset, Output

from stepworks.kubeflow.component import component


@component("cpu")
def ingest_table(source: str, contract: str, table: Output[Dataset]) -> None:
    """Make one table of the source's files, as the contract says.

    Args:
        source: A folder, for example on a claim, or `package://<name>` for the files of an installed package.
        contract: The data contract: a YAML file, or `package://<name>/<path>`.
        table: The table, one Parquet file; its metadata holds rows, digest and dropped_rows.
    """
    from pathlib import Path

    from stepworks.data.contract import TableContract
    from stepworks.data.ingest import ingest_table

    ingested = ingest_table(source, TableContract.read(contract), Path(table.path))
    table.metadata.update(rows=ingested.rows, digest=ingested.digest, dropped_rows=ingested.dropped_rows)
