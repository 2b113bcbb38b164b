"""JSON merge patches, by which one field of an object is taken away and another set in one write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def merge_patch(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The patch that makes one object of another, by RFC 7386: what goes is null in it, and lists are whole.

    Args:
        before: The object as it is.
        after: The object as it is to be. A value of None cannot be told from a field that is not there.
    """
    changes: dict[str, Any] = {name: None for name in before if name not in after}
    for name, value in after.items():
        present = before.get(name)
        if isinstance(value, Mapping) and isinstance(present, Mapping):
            if inner := merge_patch(present, value):
                changes[name] = inner
        elif name not in before or value != present:
            changes[name] = value
    return changes
