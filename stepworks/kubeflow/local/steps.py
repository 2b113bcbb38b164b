"""The steps of a local run: which there are, which one runs, how each ended."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from stepworks.report.run_record import StepRecord

State = Literal["pending", "running", "succeeded", "failed", "skipped", "cancelled"]
MARKS = {"pending": "·", "running": "▶", "succeeded": "✓", "failed": "✗", "skipped": "○", "cancelled": "■"}
"""How each state is shown."""


@dataclass
class Step:
    """One task of the pipeline, as it goes. In a loop it has several executions, some at the same time.

    Attributes:
        name: The task's name in the pipeline, with that of the inner pipeline where it is not the only one.
        task: The task's name where it stands.
        component: Its component's name in the pipeline; kfp tells it, and `task`, of each execution.
        depends_on: The tasks that it waits for.
        state: What it is doing. A step of which one execution has failed stays failed.
        executions: How often it was begun.
        attempts: The most attempts of one execution.
        log: The name of the log file of the execution that `error` is of, or of the last one.
        error: What went wrong first, as the step's log says it.
        metadata: For each output artifact, what the step noted of it.
        values: The output parameters.
    """

    name: str
    task: str
    component: str
    depends_on: list[str]
    state: State = "pending"
    executions: int = 0
    attempts: int = 0
    log: str | None = None
    error: str | None = None
    metadata: dict[str, dict[str, Any]] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    _running: int = 0
    _started: float | None = None
    _ended: float | None = None

    @property
    def seconds(self) -> float | None:
        """Wall time from the first execution's begin to the last one's end, so far; None before the first."""
        if self._started is None:
            return None
        return (time.monotonic() if self._running or self._ended is None else self._ended) - self._started

    def start(self) -> str:
        """An execution begins; return the name of its log file."""
        if self._started is None:
            self._started = time.monotonic()
        self.executions += 1
        self._running += 1
        if self.state != "failed":
            self.state = "running"
        log = f"{self.name}.log" if self.executions == 1 else f"{self.name}-{self.executions}.log"
        if self.error is None:
            self.log = log
        return log

    def end(self, state: State) -> None:
        """An execution has ended."""
        self._running -= 1
        self._ended = time.monotonic()
        if self.state != "failed" and (state == "failed" or not self._running):
            self.state = state

    def close(self) -> None:
        """The run has ended: what still ran was cancelled, what never began was skipped."""
        if self._running:
            self._running, self._ended = 0, time.monotonic()
        if self.state in ("running", "pending"):
            self.state = "cancelled" if self.state == "running" else "skipped"

    def fail(self, error: str, log: str | None) -> None:
        """Keep what went wrong; the first trouble is the one to read."""
        self.state = "failed"
        if self.error is None:
            self.error, self.log = error, log

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
    found = {(step.task, step.component): step for step in _walk(pipeline_spec, pipeline_spec.root.dag, "")}
    steps = list(found.values())
    for step in steps:
        if [each.task for each in steps].count(step.task) == 1:
            step.name = step.task
    known = {step.name for step in steps}
    for step in steps:
        step.depends_on = [name for name in step.depends_on if name in known]
    by_name = {step.name: step for step in steps}
    return [by_name[name] for name in running_order({step.name: step.depends_on for step in steps})]


def component_name(task_spec: Any) -> str:
    """The name of a task's component in its pipeline."""
    return str(task_spec.component_ref.name).removeprefix("comp-")


def _walk(pipeline_spec: Any, dag: Any, outer: str) -> Iterator[Step]:
    for name, task in dag.tasks.items():
        component = pipeline_spec.components[task.component_ref.name]
        if component.HasField("dag"):
            yield from _walk(pipeline_spec, component.dag, f"{outer}{name}.")
        else:
            yield Step(f"{outer}{name}", name, component_name(task), sorted(task.dependent_tasks))


def running_order(dependencies: Mapping[str, Collection[str]]) -> list[str]:
    """Order tasks so that each comes after those that it waits for; of those that could be next, by name.

    Args:
        dependencies: For each task, the tasks that it waits for; those that are no key are left to the caller.
    """
    ordered: list[str] = []
    waiting = sorted(dependencies)
    while waiting:
        ready = next((task for task in waiting if not any(each in waiting for each in dependencies[task])), waiting[0])
        ordered.append(ready)
        waiting.remove(ready)
    return ordered
