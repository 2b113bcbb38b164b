"""A change between two compiled pipelines, and how much it asks of those who use the pipeline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stepworks.kubeflow.semantic_version import Change as Due
from stepworks.kubeflow.semantic_version import SemanticVersion

Topic = Literal[
    "pipeline", "parameter", "output", "task", "data", "order", "step", "image", "resources", "placement", "run"
]
"""What a change is about; the order in which changes are told."""

TOPICS: dict[Topic, str] = {
    "pipeline": "Pipeline",
    "parameter": "Parameters",
    "output": "Outputs",
    "task": "Tasks",
    "data": "Inputs of tasks",
    "order": "Order and conditions",
    "step": "Code of steps",
    "image": "Images",
    "resources": "Resources",
    "placement": "Placement",
    "run": "Retries, timeouts and cache",
}
"""The heading of each topic."""

_RANKS: tuple[Due, ...] = ("none", "patch", "minor", "major")


@dataclass(frozen=True)
class Change:
    """A change.

    Attributes:
        topic: What it is about.
        subject: The parameter, output or setting.
        before: What it was; None for something new.
        after: What it is; None for something that is gone.
        due: The version that it asks for. *major*: who starts the pipeline, or uses what it gives, has to change
            something. *minor*: it does something else than before. *patch*: it does the same, elsewhere or better.
        tasks: The tasks that it is about, by path; empty for the pipeline itself.
    """

    topic: Topic
    subject: str
    before: str | None
    after: str | None
    due: Due
    tasks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Difference:
    """All changes between two files."""

    changes: tuple[Change, ...]

    @property
    def due(self) -> Due:
        """The version that the changes ask for together."""
        return max((change.due for change in self.changes), key=_RANKS.index, default="none")


def version_due(version: str, due: Due) -> str | None:
    """The version that is due after `version`; None where `version` is none that can be counted."""
    parsed = SemanticVersion.parse(version)
    return str(parsed.after(due)) if parsed else None


def gather(changes: list[Change]) -> Difference:
    """Put changes in the order in which they are told; one line for what changed alike in several tasks."""
    tasks: dict[tuple[Topic, str, str | None, str | None, Due], list[str]] = {}
    for change in changes:
        key = (change.topic, change.subject, change.before, change.after, change.due)
        tasks.setdefault(key, []).extend(change.tasks)
    order = list(TOPICS)
    found = sorted(tasks.items(), key=lambda item: order.index(item[0][0]))
    return Difference(tuple(Change(*key, tuple(dict.fromkeys(paths))) for key, paths in found))
