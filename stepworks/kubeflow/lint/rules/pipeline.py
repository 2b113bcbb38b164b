"""Rules about the pipeline as a whole."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stepworks.kubeflow.ir.source import ComponentInput
from stepworks.kubeflow.lint.finding import Severity
from stepworks.kubeflow.lint.rule import Context, Found, rule

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_LONGEST_NAME = 128


@rule(
    "P01",
    Severity.ERROR,
    "The pipeline has no name, or one that KFP refuses",
    why="The upload fails, or the workflow cannot be made.",
    do="Name the pipeline with small letters, digits and hyphens.",
)
def pipeline_name(context: Context) -> Iterator[Found]:
    """The name is of small letters, digits and hyphens, and at most 128 characters long."""
    name = context.ir.name
    if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        message = f"The pipeline is named {name[:200] or '(nothing)'}; small letters, digits and hyphens were expected"
        yield Found(message, ("pipelineInfo", "name"))


@rule(
    "P02",
    Severity.INFO,
    "A parameter of the pipeline is not used",
    why="Whoever starts the run sets it and sees no effect.",
    do="Remove the parameter, or use it.",
)
def unused_parameter(context: Context) -> Iterator[Found]:
    """Every input of the root is taken by a task."""
    taken = {
        each.source.name
        for task in context.ir.dags["root"].tasks.values()
        for each in task.inputs
        if isinstance(each.source, ComponentInput)
    }
    for name, definition in context.ir.inputs.items():
        if name not in taken:
            yield Found(f"No task takes the parameter {name}", definition.location, subject=name)


@rule(
    "P03",
    Severity.INFO,
    "A component or an executor is not used",
    why="It makes the file longer, and reviewers look at what never runs.",
    do="Compile the pipeline again; a compiled file is not edited by hand.",
)
def unused_parts(context: Context) -> Iterator[Found]:
    """Every component and executor is reached from the root."""
    components = {task.component for task in context.tasks} | {"root"}
    executors = {each.executor for name, each in context.ir.components.items() if name in components}
    for name, component in context.ir.components.items():
        if name not in components:
            yield Found(f"No task runs the component {name}", component.location, subject=name)
    for label, executor in context.ir.executors.items():
        if label not in executors:
            yield Found(f"No component that is used runs on the executor {label}", executor.location, subject=label)


@rule(
    "P04",
    Severity.WARNING,
    "The file is of a newer schema than is known here",
    why="What the newer schema added is not checked.",
    do="Take a newer Stepworks.",
)
def newer_schema(context: Context) -> Iterator[Found]:
    """The reader has nothing to note about the file."""
    for note in context.ir.notes:
        yield Found(note.text, note.location)
