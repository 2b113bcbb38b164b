"""Rules about the values that tasks are given: that they are there, declared, and of their type."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stepworks.kubeflow.ir.model import Component, Dag, Input, InputDefinition, Task
from stepworks.kubeflow.ir.source import ComponentInput, Constant, TaskOutput
from stepworks.kubeflow.ir.tasks import given
from stepworks.kubeflow.lint.finding import Severity
from stepworks.kubeflow.lint.rule import RECOMPILE, Context, Found, rule
from stepworks.placement.placeholders import OF_THE_RUN

_COMPILER_MADE = "pipelinechannel--"
_ANY_ARTIFACT = "system.Artifact"
_MACHINE_SETTINGS = {
    "accelerator_count", "accelerator_type", "base_image", "container_image", "cpu_limit", "cpu_request",
    "memory_limit", "memory_request",
}  # fmt: skip
"""Inputs that kfp adds to a task whose machine settings a parameter gives, beside the compiler-made ones."""

_ALIKE = ({"NUMBER_INTEGER", "NUMBER_DOUBLE"}, {"STRUCT", "TASK_FINAL_STATUS"})
"""Types whose values are read as each other's."""

_WRITTEN = {
    "STRING": "a text",
    "NUMBER_INTEGER": "a whole number",
    "NUMBER_DOUBLE": "a number",
    "BOOLEAN": "true or false",
    "LIST": "a list",
    "STRUCT": "a mapping",
}


@rule(
    "S04",
    Severity.ERROR,
    "A required input is not given",
    why="The task fails when it starts.",
    do="Give the input in the pipeline, or give it a default in the component, and compile again.",
)
def missing_input(context: Context) -> Iterator[Found]:
    """Every input without default, which is not optional and not the item of the loop, is given."""
    for task in context.tasks:
        component = context.ir.components.get(task.component)
        if component is None:
            continue
        names = given(task)
        item = task.iterator.item_input if task.iterator else None
        for definition in component.inputs.values():
            needed = not definition.optional and not definition.has_default
            if needed and definition.name not in names and definition.name != item:
                yield Found(
                    f"The input {definition.name} of {task.component} is required and not given",
                    task.location,
                    task.path,
                    definition.name,
                )


@rule(
    "S05",
    Severity.WARNING,
    "An input is given that the component does not take",
    why="The value goes nowhere; most often the name has a typo.",
    do="Correct the name in the pipeline, and compile again.",
)
def undeclared_input(context: Context) -> Iterator[Found]:
    """Every input is declared, except those that kfp makes for machine settings and conditions."""
    for task in context.tasks:
        component = context.ir.components.get(task.component)
        if component is None:
            continue
        for each in task.inputs:
            made = each.name.startswith(_COMPILER_MADE) or each.name in _MACHINE_SETTINGS
            if each.name not in component.inputs and not made:
                yield Found(
                    f"The task is given the input {each.name}, which {task.component} does not take",
                    each.location,
                    task.path,
                    each.name,
                )


@rule(
    "S11",
    Severity.ERROR,
    "An input comes from a parameter that the enclosing pipeline does not have",
    why="The value never arrives, and the run stops.",
    do=RECOMPILE,
)
def undeclared_parameter(context: Context) -> Iterator[Found]:
    """Every componentInputParameter and componentInputArtifact is declared by the component whose dag it is in."""
    for task in context.tasks:
        enclosing = context.ir.components[task.dag]
        for each in task.inputs:
            if isinstance(each.source, ComponentInput) and each.source.name not in enclosing.inputs:
                yield Found(
                    f"The input {each.name} comes from the input {each.source.name} of {task.dag}, which has none "
                    "of that name",
                    each.location,
                    task.path,
                    each.name,
                )


def _typed_inputs(context: Context, kind: str) -> Iterator[tuple[Dag, Task, Input, InputDefinition]]:
    """The inputs of a kind whose type is declared and is the type of what is given."""
    for dag in context.ir.dags.values():
        for task in dag.tasks.values():
            component = context.ir.components.get(task.component)
            for each in task.inputs if component else ():
                definition = component.inputs.get(each.name) if component else None
                if definition and definition.kind == each.kind == kind and definition.type and not each.selector:
                    yield dag, task, each, definition


def _source_type(context: Context, dag: Dag, each: Input) -> str:
    """The type of what an input is given; empty when it is not known, or a loop collects it."""
    if isinstance(each.source, ComponentInput):
        definition = context.ir.components[dag.component].inputs.get(each.source.name)
        return definition.type if definition else ""
    if isinstance(each.source, TaskOutput):
        producer = dag.tasks.get(each.source.task)
        component = context.ir.components.get(producer.component) if producer else None
        output = component.outputs.get(each.source.key) if component else None
        return output.type if output and producer and not producer.iterator else ""
    return ""


@rule(
    "S09",
    Severity.ERROR,
    "A parameter is given a value of another type",
    why="The task fails when it starts, since the value cannot be read as its type.",
    do="Convert the value in a task, or change the type in the component, and compile again.",
)
def parameter_type(context: Context) -> Iterator[Found]:
    """The type of an input is that of the output or parameter which it is given; a whole number is a number, too.

    kfp writes STRING for the item of a list whose items it does not know; such an item, or a part of it, may be given
    to any input.
    """
    for dag, task, each, definition in _typed_inputs(context, "parameter"):
        type_ = _source_type(context, dag, each)
        differs = type_ != definition.type and not any({type_, definition.type} <= alike for alike in _ALIKE)
        if type_ and differs and not (type_ == "STRING" and _is_item_of_the_run(context, task, each)):
            yield Found(
                f"The input {each.name} is of the type {definition.type} and is given a {type_}",
                each.location,
                task.path,
                each.name,
            )


def _is_item_of_the_run(context: Context, task: Task, each: Input) -> bool:
    """Whether an input is given the item, or a part of it, of a loop whose items only the run knows."""
    loop = context.values.origin(task, each.source, each.selector).loop
    return loop is not None and loop.iterator is not None and bool(loop.iterator.items_input)


@rule(
    "S10",
    Severity.WARNING,
    "An artifact is given where another type is declared",
    why="KFP lets it through; the task may find other files than it expects.",
    do="Give the artifact of that type, or declare the input as Artifact.",
)
def artifact_type(context: Context) -> Iterator[Found]:
    """The schema of an input artifact is that of the output; `system.Artifact` stands for any on either side."""
    for dag, task, each, definition in _typed_inputs(context, "artifact"):
        type_ = _source_type(context, dag, each)
        if type_ and type_ != definition.type and _ANY_ARTIFACT not in {type_, definition.type}:
            yield Found(
                f"The input {each.name} is of the type {definition.type} and is given a {type_}",
                each.location,
                task.path,
                each.name,
            )


@rule(
    "S12",
    Severity.ERROR,
    "A constant or a default is not of its type",
    why="The task fails when it starts, since the value cannot be read as its type.",
    do="Correct the value in the pipeline, and compile again.",
)
def constant_type(context: Context) -> Iterator[Found]:
    """Constants and defaults are of the declared type; `2.0` is a whole number, and a placeholder may be anything."""
    if context.ir.schema_version.startswith("2.0"):
        return  # that schema writes every constant as a text
    for _, task, each, definition in _typed_inputs(context, "parameter"):
        if isinstance(each.source, Constant) and not _is_of_type(each.source.value, definition.type):
            yield Found(
                f"The input {each.name} is of the type {definition.type} and is given {_kind(each.source.value)}, "
                f"where {_WRITTEN[definition.type]} was expected",
                (*each.location, "runtimeValue", "constant"),
                task.path,
                each.name,
            )
    for component in _used_components(context):
        for definition in component.inputs.values():
            wrong = not _is_of_type(definition.default, definition.type)
            if definition.kind == "parameter" and wrong:
                yield Found(
                    f"The input {definition.name} of {component.name} is of the type {definition.type} and its "
                    f"default is {_kind(definition.default)}",
                    (*definition.location, "defaultValue"),
                    subject=f"{component.name}.{definition.name}",
                )


@rule(
    "D07",
    Severity.WARNING,
    "The run's id, or another value of the run, is a part of a longer value",
    why="KFP fills it in where it is all of a parameter, and leaves it as it is within a text, a list or a mapping: "
    "the task gets `{{$.pipeline_job_uuid}}`, and every run the same folder.",
    do="Give it as a parameter of its own and let the component put the text together, or take the output of a task.",
    backend="kubeflow",
)
def placeholder_within_a_value(context: Context) -> Iterator[Found]:
    """A placeholder of the run is all of a constant; a hint where the task has it so too, and may fill it in itself."""
    for task in context.tasks:
        constants = [(each, each.source.value) for each in task.inputs if isinstance(each.source, Constant)]
        whole = {value for _, value in constants if isinstance(value, str)}
        for each, value in constants:
            left = set(OF_THE_RUN.findall(str(value)))
            if left and not (isinstance(value, str) and value in left):
                yield Found(
                    f"The input {each.name} is given a longer value with {', '.join(sorted(left))} in it",
                    (*each.location, "runtimeValue", "constant"),
                    task.path,
                    each.name,
                    Severity.INFO if left <= whole else None,
                )


def _used_components(context: Context) -> Iterator[Component]:
    names = {"root": None, **dict.fromkeys(task.component for task in context.tasks)}
    for name in names:
        component = context.ir.components.get(name)
        if component:
            yield component


def _is_of_type(value: Any, type_: str) -> bool:
    if value is None or (isinstance(value, str) and "{{" in value):
        return True
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    checks = {
        "STRING": isinstance(value, str),
        "NUMBER_INTEGER": is_number and (isinstance(value, int) or value.is_integer()),
        "NUMBER_DOUBLE": is_number,
        "BOOLEAN": isinstance(value, bool),
        "LIST": isinstance(value, list),
        "STRUCT": isinstance(value, dict),
    }
    return checks.get(type_, True)


def _kind(value: Any) -> str:
    """What a value is, without the value: it may be a secret."""
    kinds = {str: "a text", bool: "a truth value", int: "a whole number", float: "a number", type(None): "nothing"}
    return kinds.get(type(value), "a list" if isinstance(value, list) else "a mapping")
