"""The data contract: what a table is made of, what each column holds and when it is known.

A contract is a YAML text. It says how the rows are put together (tables, joins, derived columns, dropped rows),
what the target is, and for each column of the finished table its type, its role and the values it may hold.
Expressions are SQL, as `polars.sql_expr` understands it. What is known only after the fact is marked where it
enters, and followed through every expression, so that a feature cannot leak the outcome by a detour.
"""

from __future__ import annotations

from typing import Self

import yaml
from pydantic import ValidationError, model_validator

from stepworks.data.columns import Column, Role
from stepworks.data.contract_checks import check_columns, check_lineage
from stepworks.data.locations import locate
from stepworks.data.recipe import Recipe
from stepworks.errors import ConfigurationError


class TableContract(Recipe):
    """How a table is made, as its recipe says, and what it must hold.

    Attributes:
        name: The table's name.
        question: What is to be predicted, in one sentence.
        columns: The columns of the ingested table, in their order. `row_id` comes before them.
    """

    name: str
    question: str
    columns: dict[str, Column]

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_columns(self.columns, self.target)
        check_lineage(self, self.columns)
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
