"""Rules: small pure functions that look at one pipeline, registered with what people need to know of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

from stepworks.kubeflow.ir.executor_model import Executor
from stepworks.kubeflow.ir.graph import Concurrency
from stepworks.kubeflow.ir.model import Ir, Task
from stepworks.kubeflow.ir.peak import Peak, peak_accelerators
from stepworks.kubeflow.ir.source import ComponentInput, JsonPath, TaskOutput
from stepworks.kubeflow.ir.tasks import given
from stepworks.kubeflow.ir.values import Values
from stepworks.kubeflow.lint.finding import Severity

RECOMPILE = "Compile the pipeline again; a compiled file is not edited by hand."
"""What to do where only an edit of the compiled file can be the cause."""

_VIRTUAL_IMAGES = "argostub/"
"""kfp writes such an image for what the driver does itself, such as making a claim; no container runs."""


@dataclass(frozen=True)
class Limits:
    """What the rules judge by, where a project may have its own.

    Attributes:
        max_gpus: The most accelerators that a pipeline may hold at once; None for any number.
        claims: The access mode of each claim that the configuration knows, `ReadWriteMany` for example.
        loop_items: Up to this many items a loop may start all iterations at once.
        placeholder_registries: Registries that stand for one that is still to be chosen.
    """

    max_gpus: int | None = None
    claims: Mapping[str, str] = field(default_factory=dict)
    loop_items: int = 10
    placeholder_registries: tuple[str, ...] = ("registry.example.com",)


class Context:
    """One pipeline, and what several rules need of it."""

    def __init__(self, ir: Ir, limits: Limits) -> None:
        self.ir = ir
        self.limits = limits

    @cached_property
    def tasks(self) -> list[Task]:
        """Every task once, also where a component is used several times."""
        return [task for dag in self.ir.dags.values() for task in dag.tasks.values()]

    @cached_property
    def containers(self) -> list[tuple[Task, Executor]]:
        """Every executor that runs a container, once, with the first task that it runs."""
        found = {
            task.executor.label: (task, task.executor)
            for task in reversed(self.tasks)
            if task.executor and task.executor.image and not task.executor.image.startswith(_VIRTUAL_IMAGES)
        }
        return list(found.values())[::-1]

    @cached_property
    def container_tasks(self) -> list[tuple[Task, Executor]]:
        """Every task that runs a container, with its executor."""
        labels = {executor.label for _, executor in self.containers}
        return [(task, task.executor) for task in self.tasks if task.executor and task.executor.label in labels]

    @cached_property
    def values(self) -> Values:
        """What settings are that a parameter gives."""
        return Values(self.ir)

    @cached_property
    def concurrency(self) -> Concurrency:
        """Which tasks may run at once."""
        return Concurrency(self.ir)

    @cached_property
    def peak(self) -> Peak:
        """How many accelerators the pipeline may hold at once."""
        return peak_accelerators(self.ir)


def input_type(context: Context, task: Task, name: str) -> str:
    """The type of what a task is given for an input, declared or not; empty when it is not known."""
    components = context.ir.components
    component = components.get(task.component)
    if component and name in component.inputs:
        return component.inputs[name].type
    each = given(task).get(name)
    if each and isinstance(each.source, ComponentInput):
        definition = components[task.dag].inputs.get(each.source.name)
        return definition.type if definition else ""
    if each and isinstance(each.source, TaskOutput):
        producer = context.ir.dags[task.dag].tasks.get(each.source.task)
        producing = components.get(producer.component) if producer else None
        output = producing.outputs.get(each.source.key) if producing else None
        return output.type if output else ""
    return ""


@dataclass(frozen=True, slots=True)
class Found:
    """What a rule function returns; the rule itself adds its id, its severity and what to do.

    Attributes:
        message: What is there, and what was expected.
        location: Where it stands in the IR.
        task: The path of the task; empty for what is of no task.
        subject: What it is about within the task.
        severity: How bad it is, where that is not the rule's severity.
    """

    message: str
    location: JsonPath
    task: str = ""
    subject: str = ""
    severity: Severity | None = None


Check: TypeAlias = Callable[[Context], Iterable[Found]]


@dataclass(frozen=True)
class Rule:
    """A rule.

    Attributes:
        id: Its stable id; the letter is its family.
        severity: How bad a finding is, unless it says otherwise.
        title: What it finds, in a few words.
        why: What happens otherwise.
        what_to_do: How to mend it.
        backend: `kubeflow` for what only Kubernetes knows; `any` otherwise.
        parameters: The settings of the configuration file that it judges by.
        check: The function.
    """

    id: str
    severity: Severity
    title: str
    why: str
    what_to_do: str
    backend: str
    parameters: tuple[str, ...]
    check: Check

    def applies_to(self, ir: Ir) -> bool:
        """Whether the rule has anything to say of a pipeline."""
        return self.backend in {"any", ir.backend}


_RULES: dict[str, Rule] = {}


def rule(
    id_: str,
    severity: Severity,
    title: str,
    *,
    why: str,
    do: str,
    backend: str = "any",
    parameters: tuple[str, ...] = (),
) -> Callable[[Check], Check]:
    """Register a function as the rule of an id."""

    def register(check: Check) -> Check:
        if id_ in _RULES:
            raise ValueError(f"two rules have the id {id_}")
        _RULES[id_] = Rule(id_, severity, title, why, do, backend, parameters, check)
        return check

    return register


def registered() -> dict[str, Rule]:
    """The rules that were registered so far, by id."""
    return dict(sorted(_RULES.items()))
