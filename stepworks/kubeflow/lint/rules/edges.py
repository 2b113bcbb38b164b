"""Rules about the graph: what tasks run, wait for and take from each other."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from itertools import islice

from stepworks.kubeflow.ir.graph import order
from stepworks.kubeflow.ir.model import Dag, Input, Task
from stepworks.kubeflow.ir.placeholders import INPUT
from stepworks.kubeflow.ir.source import Constant, FinalStatus, TaskOutput
from stepworks.kubeflow.ir.tasks import given
from stepworks.kubeflow.lint.finding import Severity
from stepworks.kubeflow.lint.rule import RECOMPILE, Context, Found, rule

_MOST_LISTED = 20
_CONDITION_INPUT = re.compile(r"inputs\.parameter_values\[\s*(?:'([^']*)'|\"([^\"]*)\")\s*\]")


@rule(
    "S01",
    Severity.ERROR,
    "A task runs a component that is not there",
    why="The server refuses the pipeline, or the run stops when it comes to the task.",
    do=RECOMPILE,
)
def missing_component(context: Context) -> Iterator[Found]:
    """Every componentRef names one of `components`."""
    for task in context.tasks:
        if task.component not in context.ir.components or task.component == "root":
            yield Found(
                f"The task runs the component {task.component or '(none)'}, and `components` has none of that name",
                (*task.location, "componentRef", "name"),
                task.path,
                task.component,
            )


@rule(
    "S02",
    Severity.ERROR,
    "A component has no executor",
    why="The run stops when it comes to the task.",
    do=RECOMPILE,
)
def missing_executor(context: Context) -> Iterator[Found]:
    """Every component that is used has a dag, or an executor that is there."""
    for task in context.tasks:
        component = context.ir.components.get(task.component)
        if component and not component.has_dag and component.executor not in context.ir.executors:
            yield Found(
                f"The component {component.name} is run by {component.executor or '(no executor)'}, and "
                "`deploymentSpec.executors` has none of that name",
                (*component.location, "executorLabel"),
                task.path,
                component.executor or "",
            )


@rule(
    "S03",
    Severity.ERROR,
    "A task waits for one that is not there",
    why="The task can never start.",
    do=RECOMPILE,
)
def missing_dependency(context: Context) -> Iterator[Found]:
    """Every entry of dependentTasks names a task of the same dag."""
    for dag in context.ir.dags.values():
        for task in dag.tasks.values():
            for index, name in enumerate(task.dependencies):
                if name not in dag.tasks:
                    yield Found(
                        f"The task waits for {name}, and its dag has no task of that name",
                        (*task.location, "dependentTasks", index),
                        task.path,
                        name,
                    )


def _producer(each: Input) -> str | None:
    """The task that an input waits for; None when it waits for none."""
    return each.source.task if isinstance(each.source, TaskOutput | FinalStatus) else None


def _edges(context: Context) -> Iterator[tuple[Dag, Task, Input, str]]:
    for dag in context.ir.dags.values():
        for task in dag.tasks.values():
            for each in task.inputs:
                producer = _producer(each)
                if producer is not None:
                    yield dag, task, each, producer


@rule(
    "S06",
    Severity.ERROR,
    "An input comes from a task that is not in the same dag",
    why="The value never arrives, and the run stops.",
    do=RECOMPILE,
)
def missing_producer(context: Context) -> Iterator[Found]:
    """Every producerTask, of outputs and of final states, is a task of the same dag."""
    for dag, task, each, producer in _edges(context):
        if producer not in dag.tasks:
            yield Found(
                f"The input {each.name} comes from {producer or '(no task)'}, and the dag has no task of that name",
                each.location,
                task.path,
                each.name,
            )


@rule(
    "S07",
    Severity.ERROR,
    "An input comes from a task that is not waited for",
    why="The task may start before the value is there.",
    do=RECOMPILE,
)
def producer_not_awaited(context: Context) -> Iterator[Found]:
    """Every producer is among dependentTasks, except of values that only settle where the task runs.

    kfp writes no dependency for a machine setting that another task gives (`pipelinechannel--…` that the component
    does not declare); the driver resolves it.
    """
    for dag in context.ir.dags.values():
        for task in dag.tasks.values():
            awaited = set(task.dependencies)
            early = [
                (each, producer)
                for each in task.inputs
                if (producer := _producer(each)) in dag.tasks and producer not in awaited
            ]
            settings = _machine_settings(context, task) if early else set()
            for each, producer in early:
                if each.name not in settings:
                    yield Found(
                        f"The input {each.name} comes from {producer}, which is not among the task's dependentTasks",
                        each.location,
                        task.path,
                        each.name,
                    )


def _machine_settings(context: Context, task: Task) -> set[str]:
    """The inputs that only give a resource or an image: neither declared nor a part of an input that is."""
    component = context.ir.components.get(task.component)
    if component is None or component.executor is None:
        return set()
    declared = (each.source for each in task.inputs if each.name in component.inputs)
    texts = (source.value for source in declared if isinstance(source, Constant) and isinstance(source.value, str))
    parts = {name for text in texts for name in INPUT.findall(text)}
    return {each.name for each in task.inputs if each.name not in component.inputs and each.name not in parts}


@rule(
    "S08",
    Severity.ERROR,
    "An input takes an output that its producer does not have",
    why="The value never arrives, and the run stops.",
    do=RECOMPILE,
)
def missing_output(context: Context) -> Iterator[Found]:
    """Every output that is taken, by an input or by an output of the dag, is declared by the producer's component."""
    for dag, task, each, producer in _edges(context):
        if producer in dag.tasks and isinstance(each.source, TaskOutput):
            component = context.ir.components.get(dag.tasks[producer].component)
            if component and each.source.key not in component.outputs:
                yield Found(
                    f"The input {each.name} takes the output {each.source.key} of {producer}, which gives "
                    f"{_listed(component.outputs)}",
                    each.location,
                    task.path,
                    each.name,
                )
    for dag in context.ir.dags.values():
        for selector in dag.outputs:
            producing = dag.tasks.get(selector.task)
            component = context.ir.components.get(producing.component) if producing else None
            if component and selector.key not in component.outputs:
                yield Found(
                    f"The output {selector.output} of {dag.component} takes the output {selector.key} of "
                    f"{selector.task}, which gives {_listed(component.outputs)}",
                    selector.location,
                    subject=f"{dag.component}.{selector.output}",
                )


def _listed(names: Collection[str]) -> str:
    """The names as a message has them: the first few, since each of many findings may list them."""
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return (", ".join(sorted(islice(names, _MOST_LISTED))) or "none") + more


@rule(
    "S13",
    Severity.ERROR,
    "A condition reads an input that the task does not get",
    why="The branch is taken always or never, or the run stops.",
    do=RECOMPILE,
)
def condition_without_input(context: Context) -> Iterator[Found]:
    """Every `inputs.parameter_values['x']` of a trigger's condition is an input of the task."""
    for task in context.tasks:
        if task.condition:
            names = {single or double for single, double in _CONDITION_INPUT.findall(task.condition)}
            inputs = given(task)
            for name in sorted(names - set(inputs)):
                yield Found(
                    f"The condition reads the input {name}; the task gets {_listed(inputs)}",
                    (*task.location, "triggerPolicy", "condition"),
                    task.path,
                    name,
                )


@rule(
    "S14",
    Severity.ERROR,
    "Tasks wait for each other",
    why="None of them can ever start.",
    do=RECOMPILE,
)
def cycle(context: Context) -> Iterator[Found]:
    """The dependentTasks of a dag form no circle."""
    for dag in context.ir.dags.values():
        circle = _circle(dag)
        if circle:
            task = dag.tasks[circle[0]]
            yield Found(
                f"The tasks wait for each other in a circle: {' > '.join([*circle, circle[0]])}",
                (*task.location, "dependentTasks"),
                task.path,
            )


def _circle(dag: Dag) -> list[str]:
    """One circle of a dag, its first task the first by name."""
    stuck = set(order(dag)[1])
    if not stuck:
        return []
    way: dict[str, None] = {}
    name = min(stuck)
    while name not in way:  # each stuck task waits for a stuck one
        way[name] = None
        name = next(each for each in dag.tasks[name].dependencies if each in stuck)
    names = list(way)
    circle = names[names.index(name) :]
    first = circle.index(min(circle))
    return circle[first:] + circle[:first]


@rule(
    "S15",
    Severity.ERROR,
    "An output of a dag comes from a task that is not in it",
    why="The output stays empty, and what takes it stops.",
    do=RECOMPILE,
)
def output_without_task(context: Context) -> Iterator[Found]:
    """Every producerSubtask of a dag's outputs is a task of the dag."""
    for dag in context.ir.dags.values():
        for selector in dag.outputs:
            if selector.task not in dag.tasks:
                yield Found(
                    f"The output {selector.output} of {dag.component} comes from {selector.task or '(no task)'}, and "
                    "the dag has no task of that name",
                    selector.location,
                    subject=f"{dag.component}.{selector.output}",
                )


@rule(
    "S18",
    Severity.ERROR,
    "A loop gives its item to an input that is not there",
    why="The iterations get no item, or the loop no items, and the run stops.",
    do=RECOMPILE,
)
def loop_without_item(context: Context) -> Iterator[Found]:
    """The item's input is declared by the component of the loop, and the items' input is given to the task."""
    for task in context.tasks:
        iterator, component = task.iterator, context.ir.components.get(task.component)
        if iterator is None or component is None:
            continue
        if iterator.item_input not in component.inputs:
            yield Found(
                f"The loop gives its item to {iterator.item_input or '(no input)'}; {task.component} takes "
                f"{_listed(component.inputs)}",
                iterator.location,
                task.path,
                iterator.item_input,
            )
        if iterator.items_input and iterator.items_input not in given(task):
            yield Found(
                f"The loop takes its items from the input {iterator.items_input}; the task gets {_listed(given(task))}",
                iterator.location,
                task.path,
                iterator.items_input,
            )
