"""What every document is: written whole or not at all, checked when it is read."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from stepworks.errors import NotFoundError, RunError
from stepworks.files import write_atomically


class Fragment(BaseModel):
    """A part of a document: immutable, unknown fields refused, NaN and infinity refused."""

    # A process reads or writes one or two kinds; the validators of the others are never built.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)


class Interval(Fragment):
    """A value with the interval it was judged by; `low` and `high` are missing when none was computed."""

    value: float
    low: float | None = None
    high: float | None = None
    confidence: float = 0.95


class StoredDocument(Fragment):
    """A document as a file."""

    def write(self, path: str | Path) -> Path:
        """Write the document to `path` in one piece.

        Raises:
            ResourceError: The disk is full or the path is not writable.
        """
        return write_atomically(Path(path), self.model_dump_json(indent=1).encode() + b"\n")

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a document of this kind.

        Raises:
            NotFoundError: There is no such file.
            RunError: The file is not a document of this kind.
        """
        try:
            return cls.model_validate_json(Path(path).read_bytes())
        except FileNotFoundError as error:
            raise NotFoundError(
                f"There is no {cls.__name__} at {path}", what_to_do="Run the step that writes it first."
            ) from error
        except ValidationError as error:
            raise RunError(
                f"{path} is not a {cls.__name__}", received=first_fault(error), what_to_do="Run its step again."
            ) from error


def first_fault(error: ValidationError) -> str:
    """The first fault of a document, by its place."""
    fault = error.errors()[0]
    where = ".".join(str(part) for part in fault["loc"]) or "the document"
    return f"{where}: {fault['msg']}"
