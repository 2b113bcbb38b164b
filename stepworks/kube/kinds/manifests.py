"""Reading the JSON of Kubernetes objects, in which whatever is empty may be missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Manifest = dict[str, Any]
"""A Kubernetes object as its JSON."""


def group_of(api_version: str) -> str:
    """The API group of `batch/v1`; empty for the core's."""
    return api_version.rpartition("/")[0]


def labels_of(manifest: Mapping[str, Any]) -> dict[str, str]:
    """The object's labels."""
    return (manifest.get("metadata") or {}).get("labels") or {}


def annotations_of(manifest: Mapping[str, Any]) -> dict[str, str]:
    """The object's annotations."""
    return (manifest.get("metadata") or {}).get("annotations") or {}


def status_of(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The object's status; empty while it has none."""
    return manifest.get("status") or {}


def conditions_of(manifest: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The conditions of the object's status by their types."""
    return {each["type"]: each for each in status_of(manifest).get("conditions") or [] if each.get("type")}


def condition_line(condition: Mapping[str, Any]) -> str:
    """A condition in one line: `Failed (BackoffLimitExceeded): Job has reached the specified backoff limit`."""
    name = (
        condition["type"] if condition.get("status") == "True" else f"{condition['type']} is {condition.get('status')}"
    )
    reason, message = condition.get("reason"), condition.get("message")
    return name + (f" ({reason})" if reason else "") + (f": {message}" if message else "")
