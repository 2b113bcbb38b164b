"""The parameters that a search varies, as they are written in a pipeline: one form for Katib and for Optuna."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from stepworks.errors import RunError
from stepworks.settings_file import Setting
from stepworks.training.parameters import Value, written

ParameterName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=63)]


class DoubleParameter(Setting):
    """A real number of a range.

    Attributes:
        type: `double`.
        minimum: The smallest value.
        maximum: The largest value.
        scale: `log` to look as closely between 0.001 and 0.01 as between 0.1 and 1; the range is then above zero.
        step: Only these distances from the minimum are tried; any value where there is none. A grid needs it.
    """

    type: Literal["double"]
    minimum: Annotated[float, Field(allow_inf_nan=False)]
    maximum: Annotated[float, Field(allow_inf_nan=False)]
    scale: Literal["linear", "log"] = "linear"
    step: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        _refuse_empty(self.minimum, self.maximum)
        if self.scale == "log" and self.minimum <= 0:
            raise ValueError(f"the minimum is {self.minimum}, and a logarithmic scale begins above zero")
        if self.scale == "log" and self.step:
            raise ValueError("a step is for a linear scale")
        return self

    def typed(self, text: str) -> float:
        """The value that Katib writes as this text; raises ValueError where it is not one of the range."""
        value = float(text)
        if not math.isclose(value, min(max(value, self.minimum), self.maximum), rel_tol=1e-9):
            raise ValueError(f"{text} is outside of {self.minimum} to {self.maximum}")
        return value


class IntegerParameter(Setting):
    """A whole number of a range, both ends included.

    Attributes:
        type: `integer`.
        minimum: The smallest value.
        maximum: The largest value.
        scale: `log` for numbers of very different sizes, such as batch sizes; the range is then above zero.
        step: Only these distances from the minimum are tried.
    """

    type: Literal["integer"]
    minimum: int
    maximum: int
    scale: Literal["linear", "log"] = "linear"
    step: Annotated[int, Field(ge=1)] = 1

    @model_validator(mode="after")
    def _check(self) -> Self:
        _refuse_empty(self.minimum, self.maximum)
        if self.scale == "log" and self.minimum <= 0:
            raise ValueError(f"the minimum is {self.minimum}, and a logarithmic scale begins above zero")
        if self.scale == "log" and self.step != 1:
            raise ValueError("a step is for a linear scale")
        return self

    def typed(self, text: str) -> int:
        """The value that Katib writes as this text; raises ValueError where it is not one of the range."""
        value = float(text)
        if not value.is_integer() or not self.minimum <= value <= self.maximum:
            raise ValueError(f"{text} is not a whole number from {self.minimum} to {self.maximum}")
        return int(value)


class ChoiceParameter(Setting):
    """One of some values, all of one type.

    Attributes:
        type: `choice`.
        values: The values: texts, numbers, or true and false.
    """

    type: Literal["choice"]
    values: Annotated[tuple[Value, ...], Field(min_length=2)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        kinds = {bool if isinstance(each, bool) else str if isinstance(each, str) else float for each in self.values}
        if len(kinds) > 1:
            raise ValueError(f"the values are of different types: {list(self.values)}")
        if len({written(each) for each in self.values}) < len(self.values):
            raise ValueError(f"a value comes twice: {list(self.values)}")
        if kinds == {float} and not all(math.isfinite(each) for each in self.values if not isinstance(each, str)):
            raise ValueError(f"a value is not finite: {list(self.values)}")
        return self

    @property
    def is_numeric(self) -> bool:
        """Whether the values are numbers, between which a search can see an order."""
        return not isinstance(self.values[0], bool | str)

    def typed(self, text: str) -> Value:
        """The value that Katib writes as this text; raises ValueError where it is none of them."""
        for value in self.values:
            if written(value) == text or (self.is_numeric and math.isclose(float(text), float(value), rel_tol=1e-9)):
                return value
        raise ValueError(f"{text} is none of {', '.join(map(written, self.values))}")


Parameter: TypeAlias = Annotated[DoubleParameter | IntegerParameter | ChoiceParameter, Field(discriminator="type")]
SearchSpace: TypeAlias = Mapping[ParameterName, Parameter]


def _refuse_empty(minimum: float, maximum: float) -> None:
    if not minimum < maximum:
        raise ValueError(f"the minimum is {minimum} and the maximum {maximum}: there is nothing between them")


def typed_assignments(space: SearchSpace, assignments: Mapping[str, str]) -> dict[str, Value]:
    """The values of a trial, with the types of the search space: Katib knows texts only.

    Args:
        space: What is varied.
        assignments: What the trial was given, by name.

    Raises:
        RunError: A parameter is missing, unknown, or has a value that is not in the space.
    """
    try:
        if set(assignments) == set(space):
            return {name: parameter.typed(assignments[name]) for name, parameter in space.items()}
        received = f"the parameters are {', '.join(sorted(assignments)) or 'none'}"
    except ValueError as error:
        received = str(error)
    raise RunError(
        "A trial was given other parameters than the search space has",
        received=received,
        expected=f"a value for each of {', '.join(sorted(space))}, within its range",
        what_to_do="Look at the Experiment in the cluster: somebody else may have made it under this name.",
    )
