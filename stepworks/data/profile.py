"""Describing what a table holds."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from stepworks.data.columns import Column
from stepworks.data.contract import TableContract
from stepworks.data.tables import read_table, share_true
from stepworks.report.documents import ColumnProfile, CountedValue, Histogram, PeriodRate, ProfileDocument

BINS = 20
UNIT_BINS = 40
"""Integers over a range of at most so many get a bin each: in equal parts of it, some would have none to hold."""

TOP_VALUES = 20
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


def profile_table(table: Path, contract: TableContract, dropped_rows: Mapping[str, int]) -> ProfileDocument:
    """Describe each column, and how often the target was true by month.

    Numbers get moments, quantiles and a histogram of `BINS` equally wide bins from the smallest to the greatest value;
    integers over a range of at most `UNIT_BINS` get a bin each. Texts and booleans get their most frequent values.
    Missing values count in `nulls` only.

    Args:
        table: A Parquet file that `ingest_table` wrote.
        contract: Its contract.
        dropped_rows: What ingest dropped, by rule.

    Raises:
        NotFoundError: There is no such file.
        DataError: The file is not the table of the contract.
    """
    frame = read_table(table, list(contract.columns))
    target = contract.target.name
    return ProfileDocument(
        table=contract.name,
        rows=frame.height,
        dropped_rows=dict(dropped_rows),
        target=target,
        target_rate=share_true(frame[target]),
        periods=_periods(frame, contract),
        columns=[_profile(frame[name], column) for name, column in contract.columns.items()],
    )


def _periods(frame: pl.DataFrame, contract: TableContract) -> list[PeriodRate]:
    if not contract.with_role("time"):
        return []
    month = pl.col(contract.time_column).dt.strftime("%Y-%m").alias("period")
    rates = (
        frame.drop_nulls([contract.time_column, contract.target.name])
        .group_by(month)
        .agg(rows=pl.len(), rate=pl.col(contract.target.name).mean())
        .sort("period")
    )
    return [PeriodRate(period=period, rows=rows, rate=rate) for period, rows, rate in rates.iter_rows()]


def _profile(series: pl.Series, column: Column) -> ColumnProfile:
    if column.type in ("integer", "number"):
        return _profile_numbers(series, column)
    if column.type == "timestamp":
        return _profile_timestamps(series, column)
    return _profile_categories(series, column)


def _profile_numbers(series: pl.Series, column: Column) -> ColumnProfile:
    present = series.drop_nulls()
    if present.is_empty():
        return ColumnProfile(
            name=series.name, type=column.type, role=column.role, nulls=series.null_count(), distinct=0
        )
    values = present.cast(pl.Float64).to_numpy()
    quantiles = np.quantile(values, QUANTILES).tolist()
    return ColumnProfile(
        name=series.name,
        type=column.type,
        role=column.role,
        nulls=series.null_count(),
        distinct=present.n_unique(),
        minimum=float(values.min()),
        maximum=float(values.max()),
        mean=float(values.mean()),
        standard_deviation=float(values.std()),
        quantiles={f"{share:g}": value for share, value in zip(QUANTILES, quantiles, strict=True)},
        histogram=_histogram(values, integers=column.type == "integer"),
    )


def _histogram(values: npt.NDArray[np.float64], *, integers: bool) -> Histogram:
    low, high = values.min(), values.max()
    # The edges lie between the integers, so that each bin holds one.
    unit = np.arange(low - 0.5, high + 1.0) if integers and high - low < UNIT_BINS else BINS
    counts, edges = np.histogram(values, bins=unit)
    return Histogram(edges=edges.tolist(), counts=counts.tolist())


def _profile_timestamps(series: pl.Series, column: Column) -> ColumnProfile:
    moments = [moment.isoformat() for moment in (series.min(), series.max()) if isinstance(moment, datetime)]
    return ColumnProfile(
        name=series.name,
        type=column.type,
        role=column.role,
        nulls=series.null_count(),
        distinct=series.drop_nulls().n_unique(),
        minimum=moments[0] if moments else None,
        maximum=moments[1] if moments else None,
    )


def _profile_categories(series: pl.Series, column: Column) -> ColumnProfile:
    counts = series.drop_nulls().cast(pl.String).alias("value").value_counts(name="rows")
    # Of an identifier every value is as frequent as any other.
    shown = 0 if column.role == "identifier" else TOP_VALUES
    top = counts.sort("rows", "value", descending=[True, False]).head(shown)
    return ColumnProfile(
        name=series.name,
        type=column.type,
        role=column.role,
        nulls=series.null_count(),
        distinct=counts.height,
        top_values=[CountedValue(value=value, rows=rows) for value, rows in top.iter_rows()],
    )
