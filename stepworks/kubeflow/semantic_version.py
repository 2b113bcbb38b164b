"""Versions of pipelines: `major.minor.patch`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import AfterValidator

Change = Literal["none", "patch", "minor", "major"]
"""How much a change asks of those who use what was changed."""

_PATTERN = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")


@dataclass(frozen=True, order=True)
class SemanticVersion:
    """A version; ordered as versions are, so that 0.10.0 comes after 0.9.0."""

    major: int
    minor: int
    patch: int

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read `major.minor.patch`; None when it is something else."""
        match = _PATTERN.fullmatch(text)
        return cls(*map(int, match.groups())) if match else None

    def after(self, change: Change) -> SemanticVersion:
        """The next version that a change is due.

        While the major version is 0 nothing is promised yet, so a major change is due a minor version
        (https://semver.org, item 4).
        """
        if change == "major" and self.major:
            return SemanticVersion(self.major + 1, 0, 0)
        if change in ("major", "minor"):
            return SemanticVersion(self.major, self.minor + 1, 0)
        return SemanticVersion(self.major, self.minor, self.patch + 1) if change == "patch" else self

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


def _check(text: str) -> str:
    if SemanticVersion.parse(text) is None:
        raise ValueError(f"{text!r} is no version of the form major.minor.patch, for example 1.0.0")
    return text


Version = Annotated[str, AfterValidator(_check)]
"""A version in a file that people write."""
