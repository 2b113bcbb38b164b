"""Components and tasks: what a component declares, and what a task of a dag is given."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from stepworks.kubeflow.ir.cursor import Cursor
from stepworks.kubeflow.ir.executor_model import Executor
from stepworks.kubeflow.ir.executors import read_source
from stepworks.kubeflow.ir.model import (
    Component,
    Input,
    InputDefinition,
    Iterator,
    OutputDefinition,
    Retry,
    Selector,
    Task,
)
from stepworks.kubeflow.ir.source import ComponentInput, FinalStatus, Source, TaskOutput, UnknownSource

_OLD_TYPES = {"STRING": "STRING", "INT": "NUMBER_INTEGER", "DOUBLE": "NUMBER_DOUBLE"}
"""The types of the schema 2.0, by those of 2.1."""


def read_component(name: str, cursor: Cursor) -> Component:
    """Read what a component declares."""
    inputs, outputs = cursor.child("inputDefinitions"), cursor.child("outputDefinitions")
    return Component(
        name=name,
        inputs={
            key: _input_definition(key, kind, each)
            for kind in ("parameter", "artifact")
            for key, each in inputs.children(f"{kind}s")
        },
        outputs={
            key: OutputDefinition(key, kind, _type(kind, each), each.flag("isArtifactList"), each.path)
            for kind in ("parameter", "artifact")
            for key, each in outputs.children(f"{kind}s")
        },
        executor=cursor.text("executorLabel") or None,
        has_dag="dag" in cursor,
        location=cursor.path,
    )


def _input_definition(name: str, kind: Literal["parameter", "artifact"], cursor: Cursor) -> InputDefinition:
    return InputDefinition(
        name=name,
        kind=kind,
        type=_type(kind, cursor),
        optional=cursor.flag("isOptional"),
        default=cursor.value.get("defaultValue"),
        has_default="defaultValue" in cursor.value,
        is_list=cursor.flag("isArtifactList"),
        location=cursor.path,
    )


def _type(kind: str, cursor: Cursor) -> str:
    if kind == "parameter":
        old = cursor.text("type")
        return cursor.text("parameterType") or _OLD_TYPES.get(old, old)
    schema = cursor.child("artifactType")
    return schema.text("schemaTitle") or schema.text("instanceSchema")


def read_task(cursor: Cursor, above: str, dag: str, component: Component | None, executor: Executor | None) -> Task:
    """Read one task of a dag.

    Args:
        cursor: The task.
        above: The path of the task that holds it; empty for the root.
        dag: The component whose dag it is in.
        component: The component that it runs; None when the IR lacks it.
        executor: What runs the component, if it has an executor and the IR has that.
    """
    name = str(cursor.path[-1])
    trigger, caching = cursor.child("triggerPolicy"), cursor.child("cachingOptions")
    return Task(
        path=f"{above}/{name}" if above else name,
        name=name,
        dag=dag,
        component=cursor.child("componentRef").text("name"),
        executor=executor,
        has_dag=component is not None and component.has_dag,
        inputs=_inputs(cursor.child("inputs")),
        dependencies=cursor.texts("dependentTasks"),
        condition=trigger.text("condition"),
        strategy=trigger.text("strategy"),
        iterator=_iterator(cursor),
        retry=_retry(cursor.child("retryPolicy")) if "retryPolicy" in cursor else None,
        cache=caching.flag("enableCache"),
        cache_key=caching.text("cacheKey"),
        display_name=cursor.child("taskInfo").text("name"),
        location=cursor.path,
    )


def below(task: Task, above: str) -> Task:
    """The same task, reached through another one."""
    return replace(task, path=f"{above}/{task.name}")


def _inputs(cursor: Cursor) -> tuple[Input, ...]:
    parameters = [
        Input(name, "parameter", _parameter_source(each), each.text("parameterExpressionSelector"), each.path)
        for name, each in cursor.children("parameters")
    ]
    artifacts = [
        Input(name, "artifact", _artifact_source(each), "", each.path) for name, each in cursor.children("artifacts")
    ]
    return (*parameters, *artifacts)


def _parameter_source(cursor: Cursor) -> Source:
    if "taskFinalStatus" in cursor:
        return FinalStatus(cursor.child("taskFinalStatus").text("producerTask"))
    return read_source(cursor)


def _artifact_source(cursor: Cursor) -> Source:
    if "taskOutputArtifact" in cursor:
        output = cursor.child("taskOutputArtifact")
        return TaskOutput(output.text("producerTask"), output.text("outputArtifactKey"))
    if "componentInputArtifact" in cursor:
        return ComponentInput(cursor.text("componentInputArtifact"))
    return UnknownSource(tuple(cursor.value))


def _retry(cursor: Cursor) -> Retry:
    return Retry(
        count=cursor.integer("maxRetryCount") or 0,
        backoff_duration=cursor.text("backoffDuration"),
        backoff_factor=cursor.number("backoffFactor"),
        backoff_max_duration=cursor.text("backoffMaxDuration"),
    )


def _iterator(task: Cursor) -> Iterator | None:
    limit = task.child("iteratorPolicy").integer("parallelismLimit") or None  # 0 is no limit
    for kind in ("parameter", "artifact"):
        cursor = task.child(f"{kind}Iterator")
        if cursor.value:
            items = cursor.child("items")
            return Iterator(
                kind=kind,
                item_input=cursor.text("itemInput"),
                count=_count_items(items),
                items_input=items.text("inputParameter") or items.text("inputArtifact"),
                parallelism_limit=limit,
                location=cursor.path,
            )
    return None


def _count_items(items: Cursor) -> int | None:
    """The number of items in the JSON list that the IR has as a text."""
    if "raw" not in items:
        return None
    try:
        values = json.loads(items.text("raw"))
    except (ValueError, RecursionError):
        items.refuse("raw", "a JSON list as a text")
    if not isinstance(values, list):
        items.refuse("raw", "a JSON list as a text")
    return len(values)


def read_selectors(dag: Cursor) -> tuple[Selector, ...]:
    """Read what the outputs of a dag are taken from."""
    outputs = dag.child("outputs")
    found = []
    for name, output in outputs.children("artifacts"):
        found += [_selector(name, each, "Artifact") for each in output.items("artifactSelectors")]
    for name, output in outputs.children("parameters"):
        if "valueFromParameter" in output:
            found.append(_selector(name, output.child("valueFromParameter"), "Parameter"))
        found += [
            _selector(name, each, "Parameter") for each in output.child("valueFromOneof").items("parameterSelectors")
        ]
    return tuple(found)


def _selector(name: str, cursor: Cursor, kind: str) -> Selector:
    return Selector(name, cursor.text("producerSubtask"), cursor.text(f"output{kind}Key"), cursor.path)


def given(task: Task) -> Mapping[str, Input]:
    """The inputs of a task by name."""
    return {each.name: each for each in task.inputs}
