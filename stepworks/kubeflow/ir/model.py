"""What an IR file says, typed: tasks, the edges between them, and what each of them runs with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from stepworks.kubeflow.ir.located import LocatedMap, Position, position_of

JsonPath: TypeAlias = tuple[str | int, ...]
"""The keys and indices that lead to a value of the IR, for example `("root", "dag", "tasks", "train")`."""

ROOT = "root"
"""The component that is the pipeline itself."""


@dataclass(frozen=True, slots=True)
class TaskOutput:
    """The value comes from an output of a task of the same dag."""

    task: str
    key: str


@dataclass(frozen=True, slots=True)
class ComponentInput:
    """The value is an input of the component whose dag the task is in."""

    name: str


@dataclass(frozen=True, slots=True)
class Constant:
    """The value stands in the IR. A text may hold placeholders such as `{{$.pipeline_job_uuid}}`."""

    value: Any


@dataclass(frozen=True, slots=True)
class FinalStatus:
    """The value is how a task of the same dag ended; for exit handlers."""

    task: str


@dataclass(frozen=True, slots=True)
class UnknownSource:
    """The value comes from something that this reader does not know."""

    fields: tuple[str, ...]


Source: TypeAlias = TaskOutput | ComponentInput | Constant | FinalStatus | UnknownSource


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
class Quantity:
    """An amount of CPU or memory.

    Attributes:
        text: As the IR has it: `500m`, `16Gi`, or a placeholder.
        value: Cores or bytes; None for a placeholder, or for what KFP does not take.
        location: Where it stands in the IR.
    """

    text: str
    value: float | None
    location: JsonPath


@dataclass(frozen=True, slots=True)
class Accelerator:
    """An accelerator of a container; KFP sets it as a limit, which Kubernetes takes as the request.

    Attributes:
        type: The resource name on Kubernetes, the accelerator type on Vertex, or a placeholder; empty when missing.
        count_text: As the IR has it; empty when missing.
        count: The number, where it is a whole one.
        location: Where it stands in the IR.
    """

    type: str
    count_text: str
    count: int | None
    location: JsonPath


@dataclass(frozen=True, slots=True)
class Resources:
    """What a container is guaranteed and the most that it may use; None for what is not set."""

    cpu_request: Quantity | None = None
    cpu_limit: Quantity | None = None
    memory_request: Quantity | None = None
    memory_limit: Quantity | None = None


@dataclass(frozen=True, slots=True)
class Toleration:
    """A taint that the pod puts up with; `dynamic` when a parameter gives it at run time."""

    key: str
    operator: str
    value: str
    effect: str
    dynamic: bool
    location: JsonPath


@dataclass(frozen=True, slots=True)
class Mount:
    """A claim in the container.

    Attributes:
        claim: The claim's name where the IR has it; empty when it is only known at run time.
        source: What gives the name.
        path: Where it is mounted.
        sub_path: The folder of the volume; empty for all of it.
        location: Where it stands in the IR.
    """

    claim: str
    source: Source
    path: str
    sub_path: str
    location: JsonPath


@dataclass(frozen=True, slots=True)
class ObjectReference:
    """A Secret or a ConfigMap that the pod uses; the name is empty when it is only known at run time."""

    kind: Literal["secretAsEnv", "secretAsVolume", "configMapAsEnv", "configMapAsVolume", "imagePullSecret"]
    name: str
    location: JsonPath


@dataclass(frozen=True, slots=True)
class Kubernetes:
    """What the platform document says of an executor.

    Attributes:
        tolerations: The taints that the pod puts up with.
        node_selector: The labels that the node must have.
        dynamic_selector: Whether a parameter gives the selector at run time.
        node_affinity: The terms of the node affinity, as the IR has them.
        mounts: The claims that are mounted.
        references: The Secrets and ConfigMaps that are used.
        timeout_seconds: After how long the pod is ended.
        labels: Labels of the pod.
        annotations: Annotations of the pod.
        raw: Everything that the document says of the executor.
        location: Where it stands in the IR.
    """

    tolerations: tuple[Toleration, ...]
    node_selector: Mapping[str, str]
    dynamic_selector: bool
    node_affinity: tuple[Mapping[str, Any], ...]
    mounts: tuple[Mount, ...]
    references: tuple[ObjectReference, ...]
    timeout_seconds: int | None
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    raw: Mapping[str, Any]
    location: JsonPath


ExecutorKind = Literal["container", "importer", "resolver", "customJob", "unknown"]


@dataclass(frozen=True, slots=True)
class Executor:
    """What runs a task.

    Attributes:
        label: Its name in the IR.
        kind: What it is. An importer has no container.
        image: The image reference; empty for what has no container.
        command: The command, then `args`, as the IR has them.
        args: The arguments of the command.
        env: Name and value of each environment variable.
        resources: CPU and memory.
        accelerator: The accelerator, if any.
        kubernetes: What the platform document says of it; None when it says nothing.
        raw: Everything that the deployment says of it.
        location: Where it stands in the IR.
    """

    label: str
    kind: ExecutorKind
    image: str
    command: tuple[str, ...]
    args: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    resources: Resources
    accelerator: Accelerator | None
    kubernetes: Kubernetes | None
    raw: Mapping[str, Any]
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
