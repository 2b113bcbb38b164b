"""Making one table of the source's files, as the contract says."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from stepworks.data.columns import ROW_ID, Column
from stepworks.data.contract import TableContract
from stepworks.data.contract_checks import parse_expression
from stepworks.data.locations import locate
from stepworks.data.recipe import DropRule, Join
from stepworks.data.sources import load_file, parse_csv
from stepworks.data.tables import POLARS_TYPES, write_table
from stepworks.errors import ConfigurationError, DataError

_DROPPED = "__dropped"


@dataclass(frozen=True)
class IngestedTable:
    """What was ingested.

    Attributes:
        rows: The rows of the table.
        dropped_rows: The rows that were dropped, by the name of the rule, rules without any included.
        digest: The SHA-256 of the source's files, in hex.
    """

    rows: int
    dropped_rows: dict[str, int]
    digest: str


def ingest_table(source: str, contract: TableContract, destination: Path) -> IngestedTable:
    """Read the source's files and write the table that the contract describes.

    The same files and contract give the same bytes: rows are ordered by time and identifiers, and by their order
    in the base file where those are equal.

    Args:
        source: A folder or `package://name`; see `locations.locate`.
        contract: What to make.
        destination: The Parquet file to write: `row_id`, then the contract's columns.

    Raises:
        NotFoundError: There is no such source.
        ConfigurationError: An expression of the contract does not give the declared type.
        DataError: A file is missing, broken or lacks a column, a value has the wrong type, a join would multiply
            rows, or no row is left.
        ResourceError: A file may not be read, or the destination cannot be written.
    """
    folder = locate(source)
    files = {name: load_file(folder / table.file) for name, table in contract.tables.items()}
    frames = {name: parse_csv(files[name], table) for name, table in contract.tables.items()}
    table, dropped = assemble(frames, contract)
    write_table(table, destination)
    listing = "".join(f"{name} {file.digest}\n" for name, file in sorted(files.items())) + contract.model_dump_json()
    return IngestedTable(table.height, dropped, hashlib.sha256(listing.encode()).hexdigest())


def assemble(frames: Mapping[str, pl.DataFrame], contract: TableContract) -> tuple[pl.DataFrame, dict[str, int]]:
    """Join, derive, drop and order rows.

    Args:
        frames: The tables of the contract, by name, with the columns that it reads.
        contract: What to make.

    Returns:
        The table, `row_id` first, and the number of dropped rows by rule.

    Raises:
        ConfigurationError: An expression does not give the declared type.
        DataError: A join would multiply rows, an expression fails on a value, or no row is left.
    """
    tables = {
        name: _derive(frames[name], table.derive, f"tables.{name}.derive") for name, table in contract.tables.items()
    }
    frame = tables[contract.base]
    dropped: dict[str, int] = {}
    for join in contract.joins:
        before = frame.height
        frame = _join(frame, tables[join.table], join)
        if join.how == "inner":
            dropped[f"without_{join.table}"] = before - frame.height
    # Before rows are dropped: a cancelled flight was on the schedule, and counts where flights are counted.
    frame = _derive(frame, contract.derive, "derive")
    for rule in contract.drop_rows:
        before = frame.height
        frame = _drop(frame, rule)
        dropped[rule.name] = before - frame.height
    if frame.is_empty():
        raise DataError(
            f"No row of {contract.base} is left",
            received=f"dropped rows: {dropped}",
            expected="at least one row that no rule drops",
            what_to_do="Check the rules under drop_rows and the source's files.",
        )
    frame = _compute(frame, contract.target.name, contract.target.expression, "target")
    frame = _as_declared(frame, contract)
    order = [*contract.with_role("time"), *contract.with_role("identifier")]
    if order:
        frame = frame.sort(order, nulls_last=True, maintain_order=True)
    return frame.with_row_index(ROW_ID), dropped


def _derive(frame: pl.DataFrame, expressions: Mapping[str, str], field: str) -> pl.DataFrame:
    for name, expression in expressions.items():
        frame = _compute(frame, name, expression, f"{field}.{name}")
    return frame


def _drop(frame: pl.DataFrame, rule: DropRule) -> pl.DataFrame:
    """Keep the rows for which the rule is false or unknown."""
    marked = _compute(frame, _DROPPED, rule.where, f"drop_rows.{rule.name}")
    if marked.schema[_DROPPED] != pl.Boolean:
        raise ConfigurationError(
            f"The data contract is wrong at drop_rows.{rule.name}",
            received=f"{rule.where!r}, which gives {marked.schema[_DROPPED]}",
            expected="a condition, true for the rows to drop",
            what_to_do="Correct the expression.",
        )
    return marked.filter(~pl.col(_DROPPED).fill_null(value=False)).drop(_DROPPED)


def _compute(frame: pl.DataFrame, name: str, expression: str, field: str) -> pl.DataFrame:
    try:
        return frame.with_columns(parse_expression(field, expression).alias(name))
    except PolarsError as error:
        raise DataError(
            f"The contract's {field} cannot be computed",
            received=str(error).splitlines()[0],
            expected=f"values on which {expression!r} is defined",
            what_to_do="Correct the expression in the contract, or the values that it uses.",
        ) from error


def _join(frame: pl.DataFrame, table: pl.DataFrame, join: Join) -> pl.DataFrame:
    keys = list(join.keys.values())
    double = table.drop_nulls(keys).filter(pl.struct(keys).is_duplicated())
    if not double.is_empty():
        values = double.select(keys)
        raise DataError(
            f"The join with {join.table} would multiply rows",
            received=f"{values.n_unique()} keys more than once, the first is {values.row(0, named=True)}",
            expected=f"each value of {keys} once in {join.table}",
            what_to_do="Remove the doubled rows, or give the join more keys.",
        )
    taken = table.select(
        *(pl.col(right).alias(f"__key_{position}") for position, right in enumerate(keys)),
        *(pl.col(old).alias(new) for new, old in join.take.items()),
    )
    try:
        return frame.join(
            taken,
            left_on=list(join.keys),
            right_on=[f"__key_{position}" for position in range(len(keys))],
            how=join.how,
            maintain_order="left",
        )
    except PolarsError as error:
        raise ConfigurationError(
            f"The join with {join.table} does not fit",
            received=str(error).splitlines()[0],
            expected=f"keys of the same type in both tables: {join.keys}",
            what_to_do="Correct the keys, or the types of these columns in the contract.",
        ) from error


def _as_declared(frame: pl.DataFrame, contract: TableContract) -> pl.DataFrame:
    for name, column in contract.columns.items():
        if not _fits(frame.schema[name], column):
            raise ConfigurationError(
                f"The data contract is wrong at columns.{name}.type",
                received=f"{column.type}, but its expression gives {frame.schema[name]}",
                expected="the type that the expression gives",
                what_to_do=f"Correct the type of {name}, or its expression.",
            )
    return frame.select(
        pl.col(name).cast(POLARS_TYPES[column.type]) for name, column in contract.columns.items()
    ).with_columns(pl.col(pl.Float64).fill_nan(None))


def _fits(given: pl.DataType, column: Column) -> bool:
    if column.type == "integer":
        return given.is_integer()
    if column.type == "number":
        return given.is_numeric()
    if column.type == "timestamp":
        return given == pl.Datetime
    return given == POLARS_TYPES[column.type]
