"""What a transform learned from the training rows; it travels with the model, so that serving cannot skew."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from stepworks.errors import DataError, NotFoundError
from stepworks.files import write_atomically

FILE_NAME = "transform.json"


class NumericFeature(BaseModel):
    """A number: a missing value becomes `fill`, then `(value - mean) / standard_deviation` in float32."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    fill: float
    mean: float
    standard_deviation: float


class CategoricalFeature(BaseModel):
    """A text: its code is its position in `values` plus one; zero stands for missing and never seen."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    values: tuple[str, ...]


class TransformParameters(BaseModel):
    """The parameters of a fitted transform, in the order in which a model takes its features."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    target: str
    numeric: tuple[NumericFeature, ...]
    categorical: tuple[CategoricalFeature, ...]

    def write(self, directory: str | Path) -> Path:
        """Write `transform.json` into a transform's or a model's directory, which is made when missing.

        Raises:
            ResourceError: The disk is full or the directory is not writable.
        """
        return write_atomically(Path(directory) / FILE_NAME, self.model_dump_json(indent=1).encode() + b"\n")

    @classmethod
    def read(cls, directory: str | Path) -> Self:
        """Read `transform.json` from a transform's or a model's directory.

        Raises:
            NotFoundError: The directory has no such file.
            DataError: The file does not hold transform parameters.
        """
        path = Path(directory) / FILE_NAME
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError as error:
            raise NotFoundError(
                f"There is no {FILE_NAME} in {directory}", what_to_do="Give the output folder of transform_table."
            ) from error
        except ValidationError as error:
            raise DataError(f"{path} does not hold transform parameters", received=str(error)) from error
