"""What a contract promises beyond the shape of its fields: roles that fit together, and no leak of the outcome."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
from polars.exceptions import PolarsError

from stepworks.data.columns import ROW_ID, Column, KnownAt
from stepworks.data.recipe import Join, Recipe, SourceTable, Target
from stepworks.errors import ConfigurationError

_ORDERED_TYPES = ("integer", "number")
Scope = dict[str, KnownAt]
"""The columns that an expression may use, and when each is known."""


def parse_expression(field: str, expression: str) -> pl.Expr:
    """Read a SQL expression of the contract.

    Raises:
        ConfigurationError: It is not an expression that `polars.sql_expr` understands; `field` is named.
    """
    try:
        return pl.sql_expr(expression)
    except PolarsError as error:
        raise _wrong(field, f"{expression!r}: {error}", "a SQL expression that polars understands") from error


def check_columns(columns: Mapping[str, Column], target: Target) -> None:
    """Check roles, types and bounds of a contract's columns.

    Raises:
        ConfigurationError: One is wrong, or there is not one target and at least one feature.
    """
    if ROW_ID in columns:
        raise _wrong(f"columns.{ROW_ID}", "a column of this name", "any other name: ingest adds this column itself")
    for name, column in columns.items():
        _check_column(f"columns.{name}", column)
    targets, times, features = (
        [name for name, column in columns.items() if column.role == role] for role in ("target", "time", "feature")
    )
    if targets != [target.name]:
        raise _wrong("columns", f"the role target at {targets}", f"the role target at {target.name} and no other")
    if len(times) > 1:
        raise _wrong("columns", f"the role time at {times}", "the role time at one column")
    if not features:
        raise _wrong("columns", "no feature", "at least one column with the role feature")


def _check_column(field: str, column: Column) -> None:
    required = {"target": "boolean", "time": "timestamp"}.get(column.role, column.type)
    if column.type != required:
        raise _wrong(f"{field}.type", column.type, f"{required} for the role {column.role}")
    if column.role == "feature" and column.type == "timestamp":
        raise _wrong(f"{field}.type", "timestamp", "a feature of another type, for example the hour as an integer")
    if column.role == "feature" and column.known_at == "outcome":
        raise _wrong(f"{field}.known_at", "outcome", "prediction: a feature must not tell the outcome")
    bounds = [bound for bound in (column.minimum, column.maximum) if bound is not None]
    if bounds and column.type not in _ORDERED_TYPES:
        raise _wrong(field, f"minimum or maximum for the type {column.type}", "bounds for integers and numbers only")
    if bounds != sorted(bounds):
        raise _wrong(field, f"minimum {bounds[0]}, maximum {bounds[1]}", "a minimum that is not above the maximum")
    if column.allowed is not None and column.type != "text":
        raise _wrong(f"{field}.allowed", f"values for the type {column.type}", "allowed values for texts only")


def check_lineage(recipe: Recipe, columns: Mapping[str, Column]) -> None:
    """Follow every expression to the columns of the source: all exist, and none tells a feature the outcome.

    Raises:
        ConfigurationError: A table or column is unknown or defined twice, or a column that is declared as known
            when the prediction is asked for is computed from one that is known only at the outcome.
    """
    scopes = {name: _table_scope(f"tables.{name}", table) for name, table in recipe.tables.items()}
    if recipe.base not in scopes:
        raise _wrong("base", recipe.base, f"one of {sorted(scopes)}")
    scope = scopes[recipe.base]
    for position, join in enumerate(recipe.joins):
        _join_scope(f"joins.{position}", join, scope, scopes)
    _derive_scope("derive", recipe.derive, scope)
    for position, rule in enumerate(recipe.drop_rows):
        _known_at(f"drop_rows.{position}.where", rule.where, scope)
    _derive_scope("target", {recipe.target.name: recipe.target.expression}, scope)
    for name, column in columns.items():
        if name not in scope:
            raise _wrong(f"columns.{name}", name, "a column of the base table, a join, derive or the target")
        if scope[name] == "outcome" and column.known_at != "outcome":
            raise _wrong(
                f"columns.{name}.known_at",
                f"{column.known_at}, but {name} is computed from what is known only at the outcome",
                "outcome, and then a role other than feature",
            )


def _table_scope(field: str, table: SourceTable) -> Scope:
    names = [name for names in table.columns.values() for name in names]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise _wrong(f"{field}.columns", f"{twice} twice", "each column once")
    unknown = sorted(set(table.outcome) - set(names))
    if unknown:
        raise _wrong(f"{field}.outcome", str(unknown), f"columns that are read: {names}")
    scope: Scope = {name: "outcome" if name in table.outcome else "prediction" for name in names}
    _derive_scope(f"{field}.derive", table.derive, scope)
    return scope


def _join_scope(field: str, join: Join, scope: Scope, scopes: dict[str, Scope]) -> None:
    if join.table not in scopes:
        raise _wrong(f"{field}.table", join.table, f"one of {sorted(scopes)}")
    joined = scopes[join.table]
    for left, right in join.keys.items():
        if left not in scope:
            raise _wrong(f"{field}.keys", left, f"one of {sorted(scope)}")
        if right not in joined:
            raise _wrong(f"{field}.keys", right, f"one of {sorted(joined)}")
    # What is found by a key that is known only at the outcome is itself known only then.
    told_by_key = any(scope[left] == "outcome" or joined[right] == "outcome" for left, right in join.keys.items())
    for new, old in join.take.items():
        if old not in joined:
            raise _wrong(f"{field}.take", old, f"one of {sorted(joined)}")
        _define(f"{field}.take", new, "outcome" if told_by_key else joined[old], scope)


def _derive_scope(field: str, expressions: dict[str, str], scope: Scope) -> None:
    for name, expression in expressions.items():
        _define(field, name, _known_at(f"{field}.{name}", expression, scope), scope)


def _define(field: str, name: str, known_at: KnownAt, scope: Scope) -> None:
    if name in scope:
        raise _wrong(f"{field}.{name}", f"{name} a second time", "a name that no column has yet")
    scope[name] = known_at


def _known_at(field: str, expression: str, scope: Scope) -> KnownAt:
    roots = parse_expression(field, expression).meta.root_names()
    unknown = sorted(set(roots) - set(scope))
    if unknown:
        raise _wrong(field, f"{expression!r}, which uses {unknown}", f"columns among {sorted(scope)}")
    return "outcome" if any(scope[root] == "outcome" for root in roots) else "prediction"


def _wrong(field: str, received: str, expected: str) -> ConfigurationError:
    return ConfigurationError(
        f"The data contract is wrong at {field}",
        received=received,
        expected=expected,
        what_to_do=f"Correct {field} in the contract.",
    )
