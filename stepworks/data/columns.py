"""The columns of a contract: what each holds, what it is for, and when its value is known."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

ROW_ID = "row_id"
"""The first column of an ingested table: the number of the row, from zero, as UInt32."""

ColumnType = Literal["integer", "number", "text", "boolean", "timestamp"]
Role = Literal["feature", "target", "time", "slice", "identifier"]
KnownAt = Literal["prediction", "outcome"]
"""When a value is known: when the prediction is asked for, or only once the outcome is there."""


class Part(BaseModel):
    """A part of a contract: immutable, unknown fields refused, NaN and infinity refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Column(Part):
    """A column of the ingested table.

    Attributes:
        type: What it holds.
        role: What it is for. A model sees features only.
        nullable: Whether values may be missing; false by default.
        minimum: The smallest value of an integer or a number, itself included.
        maximum: The greatest value of an integer or a number, itself included.
        allowed: The only values of a text.
        known_at: When its value is known, by default when the prediction is asked for. A feature must be known
            then.
    """

    type: ColumnType
    role: Role = "feature"
    nullable: bool = False
    minimum: float | None = None
    maximum: float | None = None
    allowed: tuple[str, ...] | None = None
    known_at: KnownAt = "prediction"
