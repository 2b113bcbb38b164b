"""What an IR file says, typed: components, dags, tasks, and the edges between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from stepworks.kubeflow.ir.executor_model import Executor
from stepworks.kubeflow.ir.located import LocatedMap, Position, position_of
from stepworks.kubeflow.ir.source import JsonPath, Source

ROOT = "root"
"""The component that is the pipeline itself."""


@dataclass(frozen=True, slots=True)
class Input:
    """What one input of a task is given.

    Attributes:
        name: The name of the input.
        kind: Whether it is a parameter or an artifact.
        source: Where the value comes from.
        selector: What is taken out of the value, such as `parseJson(string_value)["a"]`; empty for all of it.
        location: Where it stands in the IR.
    """

    name: str
    kind: Literal["parameter", "artifact"]
    source: Source
    selector: str
    location: JsonPath


@dataclass(frozen=True, slots=True)
class InputDefinition:
    """An input that a component declares.

    Attributes:
        name: The name of the input.
        kind: Whether it is a parameter or an artifact.
        type: `STRING`, `NUMBER_INTEGER`, … of a parameter, the schema title of an artifact; empty when unknown.
        optional: Whether it may be left out.
        default: What it is then; None where there is no default, as `has_default` says.
        has_default: Whether there is a default.
        is_list: Whether it is a list of artifacts.
        location: Where it stands in the IR.
    """

    name: str
    kind: Literal["parameter", "artifact"]
    type: str
    optional: bool
    default: Any
    has_default: bool
    is_list: bool
    location: JsonPath


@dataclass(frozen=True, slots=True)
class OutputDefinition:
    """An output that a component declares; `type` and `is_list` as for inputs."""

    name: str
    kind: Literal["parameter", "artifact"]
    type: str
    is_list: bool
    location: JsonPath


@dataclass(frozen=True, slots=True)
class Component:
    """A component: what it takes and gives, and either an executor or a dag.

    Attributes:
        name: Its name in the IR; `root` for the pipeline itself.
        inputs: What it declares to take, by name.
        outputs: What it declares to give, by name.
        executor: The label of its executor, if it has one.
        has_dag: Whether it holds tasks.
        location: Where it stands in the IR.
    """

    name: str
    inputs: Mapping[str, InputDefinition]
    outputs: Mapping[str, OutputDefinition]
    executor: str | None
    has_dag: bool
    location: JsonPath


@dataclass(frozen=True, slots=True)
class Iterator:
    """What a loop runs over.

    Attributes:
        kind: Whether the items are values or artifacts.
        item_input: The input of the task's component that gets one item.
        count: How many items there are, where the IR has them.
        items_input: The input of the task that gives the items, where they are known only at run time.
        parallelism_limit: How many iterations run at once; None for all.
        location: Where it stands in the IR.
    """

    kind: Literal["parameter", "artifact"]
    item_input: str
    count: int | None
    items_input: str
    parallelism_limit: int | None
    location: JsonPath


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a failed task is tried again; durations as the IR has them, `30s`."""

    count: int
    backoff_duration: str
    backoff_factor: float | None
    backoff_max_duration: str


@dataclass(frozen=True, slots=True)
class Task:
    """A task, as it is reached from the root.

    Attributes:
        path: The names of the tasks that lead to it: `for-loop-1/train`. A component that several tasks share has
            its inner tasks once for each.
        name: Its name in its dag.
        dag: The component whose dag it is in; `root` for the pipeline's own tasks.
        component: The component that it runs.
        executor: What runs it; None for a dag, and where the IR lacks the component or the executor.
        has_dag: Whether it holds tasks of its own.
        inputs: What its inputs are given.
        dependencies: The tasks of its dag that end before it starts.
        condition: When it runs; empty for always.
        strategy: `ALL_UPSTREAM_TASKS_COMPLETED` for one that runs also after a failure.
        iterator: What it is repeated for, if it is a loop.
        retry: How often it is tried again when it fails; None for never.
        cache: Whether an earlier result for the same inputs is taken.
        cache_key: What replaces the inputs in the cache's key; empty when nothing does.
        display_name: How the UI calls it.
        location: Where it stands in the IR.
    """

    path: str
    name: str
    dag: str
    component: str
    executor: Executor | None
    has_dag: bool
    inputs: tuple[Input, ...]
    dependencies: tuple[str, ...]
    condition: str
    strategy: str
    iterator: Iterator | None
    retry: Retry | None
    cache: bool
    cache_key: str
    display_name: str
    location: JsonPath

    @property
    def parent(self) -> str:
        """The path of the task that holds it; empty for a task of the root."""
        return self.path.rpartition("/")[0]


@dataclass(frozen=True, slots=True)
class Selector:
    """What gives an output of a dag: an output of one of its tasks, one of several for a branch."""

    output: str
    task: str
    key: str
    location: JsonPath


@dataclass(frozen=True, slots=True)
class Dag:
    """The tasks of one component, in the order of the file, and what its outputs are taken from.

    A dag that is used several times is here once; its tasks have the path of the first use.
    """

    component: str
    tasks: Mapping[str, Task]
    outputs: tuple[Selector, ...]


@dataclass(frozen=True, slots=True)
class Note:
    """Something about the file that is no fault of the pipeline, such as a newer schema."""

    text: str
    location: JsonPath


@dataclass(frozen=True, slots=True)
class Ir:
    """A compiled pipeline.

    Attributes:
        file: The file that it was read from.
        name: The pipeline's name; empty when the file has none.
        display_name: How the UI calls it.
        description: What it does.
        schema_version: The version of the IR's schema, `2.1.0`.
        sdk_version: What compiled it, `kfp-2.17.0`.
        backend: What it was compiled for. `vertex` when it uses Google Cloud's steps and has no Kubernetes settings.
        components: Every component by name, the root among them.
        executors: Every executor by label.
        dags: Every dag that is reached from the root, by its component.
        tasks: Every task that is reached from the root; those of a dag follow it.
        platform_executors: The executors that the Kubernetes document speaks of, and where.
        notes: What was odd about the file.
        raw: The documents as they are in the file, merged: the pipeline's keys and `platforms`.
    """

    file: Path
    name: str
    display_name: str
    description: str
    schema_version: str
    sdk_version: str
    backend: Literal["kubeflow", "vertex"]
    components: Mapping[str, Component]
    executors: Mapping[str, Executor]
    dags: Mapping[str, Dag]
    tasks: tuple[Task, ...]
    platform_executors: Mapping[str, JsonPath]
    notes: tuple[Note, ...]
    raw: LocatedMap = field(repr=False)

    @property
    def inputs(self) -> Mapping[str, InputDefinition]:
        """The parameters and artifacts that a run can be given, with their defaults."""
        return self.components[ROOT].inputs

    @property
    def platform(self) -> Mapping[str, Any]:
        """The platform document; empty when there is none."""
        platforms: Mapping[str, Any] = self.raw.get("platforms") or {}
        return platforms

    def position(self, path: JsonPath) -> Position:
        """The line and column, from 1, of what a path leads to, or of the nearest thing above it that is there."""
        return position_of(self.raw, path)
