"""The rules, one module a family."""

from stepworks.kubeflow.lint.rule import Rule, registered
from stepworks.kubeflow.lint.rules import (
    accelerators,
    edges,
    exceptions,
    images,
    inputs,
    pipeline,
    runs,
    secrets,
    settings,
    volumes,
)

__all__ = [
    "accelerators",
    "all_rules",
    "edges",
    "exceptions",
    "images",
    "inputs",
    "pipeline",
    "runs",
    "secrets",
    "settings",
    "volumes",
]


def all_rules() -> dict[str, Rule]:
    """Every rule by id."""
    return registered()
