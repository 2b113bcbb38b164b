"""How a contract puts the rows of a table together: the files, the joins, the derived columns, the dropped rows."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from stepworks.data.columns import ColumnType, Part


def _names_to_mapping(value: Any) -> Any:
    """Read `[a, b]` as `{a: a, b: b}`."""
    return {name: name for name in value} if isinstance(value, list) else value


NameMapping = Annotated[dict[str, str], BeforeValidator(_names_to_mapping)]


class SourceTable(Part):
    """A file of the source and the columns that are read from it; its other columns are ignored.

    Attributes:
        file: The name of a `.csv` or `.csv.zip` file in the source's folder.
        nulls: Texts that mean a missing value, beside the empty one.
        columns: The columns to read, grouped by type. A `timestamp` is ISO 8601; one with an offset becomes UTC.
        outcome: Those of the columns that are known only at the outcome.
        derive: New columns of this table as SQL expressions, each of which sees those before it.
    """

    file: str
    nulls: tuple[str, ...] = ()
    columns: dict[ColumnType, tuple[str, ...]]
    outcome: tuple[str, ...] = ()
    derive: dict[str, str] = Field(default_factory=dict)

    @property
    def types(self) -> dict[str, ColumnType]:
        """The type of each column that is read."""
        return {name: kind for kind, names in self.columns.items() for name in names}


class Join(Part):
    """A join of a table to the base table; it never multiplies rows.

    Attributes:
        table: The table that is joined.
        keys: The key columns, `{column of the base: column of the table}`, or a list where the names are alike.
        how: `left` keeps a row without a match, `inner` drops and counts it as `without_<table>`.
        take: The columns that are taken, `{new name: column of the table}`, or a list where the names are kept.
    """

    table: str
    keys: NameMapping = Field(min_length=1)
    how: Literal["left", "inner"] = "left"
    take: NameMapping = Field(min_length=1)


class DropRule(Part):
    """Rows that are dropped and counted under `name`. A row counts for the first rule that it meets."""

    name: str
    where: str


class Target(Part):
    """What is predicted: the column `name`, true where `expression` is."""

    name: str
    expression: str


class Recipe(Part):
    """How the rows of a table are put together.

    Attributes:
        tables: The tables of the source, by name.
        base: The table whose rows become the rows.
        joins: What is joined to it, in order.
        derive: New columns as SQL expressions, each of which sees those before it. They are computed before any
            row is dropped.
        drop_rows: The rows that are dropped and counted.
        target: What is predicted.
    """

    tables: dict[str, SourceTable]
    base: str
    joins: tuple[Join, ...] = ()
    derive: dict[str, str] = Field(default_factory=dict)
    drop_rows: tuple[DropRule, ...] = ()
    target: Target
