"""Commands of kubectl, as messages give them to be copied."""

from __future__ import annotations


def kubectl(*words: str, namespace: str = "") -> str:
    """A command.

    Args:
        words: What follows `kubectl` and its namespace.
        namespace: The namespace that it is about; empty for what has none.
    """
    return " ".join(["kubectl", *(["-n", namespace] if namespace else []), *words])
