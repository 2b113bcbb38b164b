"""The mark by which Stepworks knows what it made: the last line of a description.

Recurring runs have no labels, and their names are not unique; the description is the one place that is kept.
What has no mark was made by someone else, and is never changed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_MARK = re.compile(r"^managed-by=stepworks; (?P<fields>[^\n]*)$", re.MULTILINE)


@dataclass(frozen=True)
class Mark:
    """What is written beside a schedule or a version.

    Attributes:
        key: What it is, whatever its identifier: `<project>/<environment>/<namespace>/<name>`.
        spec: A digest of what was asked for. Two objects of one key and one spec are the same.
        operation: The one call that made it, to find it again when the answer was lost.
    """

    key: str
    spec: str
    operation: str

    def describe(self, text: str) -> str:
        """A description: the text for people, and the mark."""
        return f"{text}\nmanaged-by=stepworks; key={self.key}; spec={self.spec}; op={self.operation}"


def read_mark(description: str | None) -> Mark | None:
    """The mark in a description; None when it is someone else's."""
    match = _MARK.search(description or "")
    if not match:
        return None
    fields = dict(field.split("=", 1) for field in match["fields"].split("; ") if "=" in field)
    if not fields.keys() >= {"key", "spec", "op"}:
        return None
    return Mark(fields["key"], fields["spec"], fields["op"])
