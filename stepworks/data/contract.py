"""The data contract: what a table is made of, what each column holds and when it is known.

A contract is a YAML text. It says how the rows are put together (tables, joins, derived columns, dropped rows),
what the target is, and for each column of the finished table its type, its role and the values it may hold.
Expressions are SQL, as `polars.sql_expr` understands it. What is known only after the fact is marked where it
enters, and followed through every expression, so that a feature cannot leak the outcome by a detour.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from stepworks.data.locations import locate
from stepworks.errors import ConfigurationError

ROW_ID = "row_id"
"""The first column of an ingested table: the number of the row, from zero, as UInt32."""

ColumnType = Literal["integer", "number", "text", "boolean", "timestamp"]
Role = Literal["feature", "target", "time", "slice", "identifier"]
KnownAt = Literal["scheduled_departure", "outcome"]


def _names_to_mapping(value: Any) -> Any:
    """Read `[a, b]` as `{a: a, b: b}`."""
    return {name: name for name in value} if isinstance(value, list) else value


NameMapping = Annotated[dict[str, str], BeforeValidator(_names_to_mapping)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SourceTable(_Part):
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


class Join(_Part):
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


class DropRule(_Part):
    """Rows that are dropped and counted under `name`. A row counts for the first rule that it meets."""

    name: str
    where: str


class Target(_Part):
    """What is predicted: the column `name`, true where `expression` is."""

    name: str
    expression: str


class Column(_Part):
    """A column of the ingested table.

    Attributes:
        type: What it holds.
        role: What it is for. A model sees features only.
        nullable: Whether values may be missing; false by default.
        minimum: The smallest value of an integer or a number, itself included.
        maximum: The greatest value of an integer or a number, itself included.
        allowed: The only values of a text.
        known_at: When its value is known, by default at scheduled departure. A feature must be known then.
    """

    type: ColumnType
    role: Role = "feature"
    nullable: bool = False
    minimum: float | None = None
    maximum: float | None = None
    allowed: tuple[str, ...] | None = None
    known_at: KnownAt = "scheduled_departure"


class TableContract(_Part):
    """How a table is made and what it must hold.

    Attributes:
        name: The table's name.
        question: What is to be predicted, in one sentence.
        tables: The tables of the source, by name.
        base: The table whose rows become the rows.
        joins: What is joined to it, in order.
        derive: New columns as SQL expressions, each of which sees those before it. They are computed before any
            row is dropped.
        drop_rows: The rows that are dropped and counted.
        target: What is predicted.
        columns: The columns of the ingested table, in their order. `row_id` comes before them.
    """

    name: str
    question: str
    tables: dict[str, SourceTable]
    base: str
    joins: tuple[Join, ...] = ()
    derive: dict[str, str] = Field(default_factory=dict)
    drop_rows: tuple[DropRule, ...] = ()
    target: Target
    columns: dict[str, Column]

    @model_validator(mode="after")
    def _check(self) -> Self:
        from stepworks.data.contract_checks import check_columns, check_lineage

        check_columns(self)
        check_lineage(self)
        return self

    @classmethod
    def read(cls, reference: str) -> Self:
        """Read a contract from a file, or from a file of an installed package (see `locations.locate`).

        Raises:
            NotFoundError: There is no such file.
            ConfigurationError: It does not hold a contract; the message names the field.
        """
        path = locate(reference)
        try:
            return cls.parse(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"The data contract {reference} cannot be read",
                received=str(error),
                expected="a YAML file",
                what_to_do="Correct the parameter `contract`.",
            ) from error

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a contract from YAML text.

        Raises:
            ConfigurationError: The text is not YAML, or a field is wrong; the message names the field.
        """
        try:
            content = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigurationError(
                "The data contract is not YAML", received=str(error), what_to_do="Correct the contract at that place."
            ) from error
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            fault = error.errors()[0]
            # For a wrong key of a mapping pydantic adds a part of its own to the path.
            field = ".".join(str(part) for part in fault["loc"] if part != "[key]") or "the top"
            raise ConfigurationError(
                f"The data contract is wrong at {field}",
                received=repr(fault["input"]),
                expected=fault["msg"],
                what_to_do=f"Correct {field} in the contract.",
            ) from error

    def with_role(self, role: Role) -> tuple[str, ...]:
        """The columns that have a role, in the contract's order."""
        return tuple(name for name, column in self.columns.items() if column.role == role)

    @property
    def numeric_features(self) -> tuple[str, ...]:
        """The features that are numbers: integers, numbers and booleans."""
        return tuple(name for name in self.with_role("feature") if self.columns[name].type != "text")

    @property
    def categorical_features(self) -> tuple[str, ...]:
        """The features that are texts."""
        return tuple(name for name in self.with_role("feature") if self.columns[name].type == "text")

    @property
    def time_column(self) -> str:
        """The column with the role `time`.

        Raises:
            ConfigurationError: The contract has none.
        """
        for name in self.with_role("time"):
            return name
        raise ConfigurationError(
            f"The contract of {self.name} has no time column",
            received="no column with the role time",
            expected="one column of type timestamp with the role time",
            what_to_do="Give the column that rows are ordered by the role time.",
        )
