"""The base of everything that a target's file says: frozen, checked when it is built, without unknown fields."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

LOCATED_FAULT = "located_fault"
"""The type of an error that knows which field it is about: its context holds the field's path under `at`."""

_LABEL_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_LABEL_PREFIX = re.compile(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


class Setting(BaseModel):
    """A part of a target's file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_fields(cls, content: Any) -> Any:
        """Tell an unknown field with the nearest known one, where pydantic would say only that it is extra."""
        if isinstance(content, dict):
            for name in content:
                if name not in cls.model_fields:
                    raise _unknown(str(name), cls.model_fields)
        return content


def _unknown(name: str, known: Iterable[str]) -> PydanticCustomError:
    near = difflib.get_close_matches(name, known, n=1)
    advice = f"did you mean {near[0]}?" if near else f"the fields are {', '.join(known)}"
    return located_fault((name,), f"there is no field {name}; {advice}")


def located_fault(at: Sequence[str], message: str) -> PydanticCustomError:
    """An error of a validator about one field of what it validates; `at` is the field's path in it."""
    return PydanticCustomError(LOCATED_FAULT, "{message}", {"message": message, "at": tuple(at)})


def check_label_key(key: str) -> str:
    """Return a label's or annotation's key as Kubernetes takes it: `name`, or `example.com/name`.

    Raises:
        ValueError: Kubernetes would refuse it.
    """
    prefix, slash, name = key.rpartition("/")
    if not _LABEL_NAME.fullmatch(name) or (slash and not _LABEL_PREFIX.fullmatch(prefix)):
        raise ValueError(f"{key!r} is no key of a label such as gpu-type or example.com/gpu-type")
    return key


def check_label_value(value: str) -> str:
    """Return a label's value as Kubernetes takes it: up to 63 letters, digits, dashes, dots and underscores.

    Raises:
        ValueError: Kubernetes would refuse it.
    """
    if value and not _LABEL_NAME.fullmatch(value):
        raise ValueError(f"{value!r} is no value of a label: up to 63 letters, digits, dashes, dots, underscores")
    return value


LabelKey = Annotated[str, AfterValidator(check_label_key)]
LabelValue = Annotated[str, AfterValidator(check_label_value)]

DnsLabel = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
"""A name of up to 63 characters without dots. Kubernetes names volumes so, and KFP names a volume by its claim."""

ObjectName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")]
"""The name of a Kubernetes object."""
