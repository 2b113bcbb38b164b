"""The steps of a local run: which there are, which one runs, how each ended."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from stepworks.report.run_record import StepRecord

State = Literal["pending", "running", "succeeded", "failed", "skipped", "cancelled"]
MARKS = {"pending": "·", "running": "▶", "succeeded": "✓", "failed": "✗", "skipped": "○", "cancelled": "■"}
"""How each state is shown."""


@dataclass
class Step:
    """One task of the pipeline, as it goes.

    Attributes:
        name: The task's name in the pipeline.
        component: The name of its component.
        depends_on: The tasks that it waits for.
        state: What it is doing.
        log: The name of its log file; None before its first attempt.
        attempts: How often its process was started.
        exit_code: How the last attempt ended.
        error: What went wrong, as the step's log says it.
        outputs: For each output artifact, the path it was to be written to.
        metadata: For each output artifact, what the step noted of it.
        values: The output parameters.
    """

    name: str
    component: str
    depends_on: list[str]
    state: State = "pending"
    log: str | None = None
    attempts: int = 0
    exit_code: int | None = None
    error: str | None = None
    outputs: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, dict[str, Any]] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    _started: float | None = None
    _ended: float | None = None

    @property
    def seconds(self) -> float | None:
        """Wall time of all attempts so far; None before the first."""
        if self._started is None:
            return None
        return (self._ended or time.monotonic()) - self._started

    def start(self) -> None:
        """An execution begins; a step in a loop has several, some at the same time."""
        if self._started is None:
            self._started = time.monotonic()
        if self.state != "failed":
            self.state = "running"

    def end(self, state: State) -> None:
        """An execution has ended. A step of which one has failed stays failed."""
        self._ended = time.monotonic()
        if self.state != "failed":
            self.state = state

    def record(self) -> StepRecord:
        """The step as the run's record keeps it."""
        return StepRecord(
            name=self.name,
            component=self.component,
            state=self.state,
            seconds=self.seconds,
            attempts=self.attempts,
            depends_on=self.depends_on,
            log=self.log,
            error=self.error,
        )


def read_steps(pipeline_spec: Any) -> list[Step]:
    """List the tasks of a pipeline in an order in which they can run, those of inner pipelines in their place."""
    steps = list(_walk(pipeline_spec, pipeline_spec.root.dag))
    known = {step.name for step in steps}
    for step in steps:
        step.depends_on = [name for name in step.depends_on if name in known]
    return _in_running_order(steps)


def _walk(pipeline_spec: Any, dag: Any) -> Iterator[Step]:
    for name, task in dag.tasks.items():
        component = pipeline_spec.components[task.component_ref.name]
        if component.HasField("dag"):
            yield from _walk(pipeline_spec, component.dag)
        else:
            yield Step(name, task.component_ref.name.removeprefix("comp-"), sorted(task.dependent_tasks))


def _in_running_order(steps: list[Step]) -> list[Step]:
    ordered: list[Step] = []
    done: set[str] = set()
    waiting = list(steps)
    while waiting:
        ready = [step for step in waiting if done.issuperset(step.depends_on)] or waiting
        ordered.append(ready[0])
        done.add(ready[0].name)
        waiting.remove(ready[0])
    return ordered
