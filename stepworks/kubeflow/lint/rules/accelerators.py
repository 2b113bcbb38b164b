"""Rules about accelerators: that a task gets the one it asks for, and that the pipeline fits the quota."""

from __future__ import annotations

from collections.abc import Iterator

from stepworks.kubeflow.ir.executor_model import Accelerator, Executor
from stepworks.kubeflow.ir.model import Task
from stepworks.kubeflow.ir.placeholders import placeholder_input
from stepworks.kubeflow.ir.source import JsonPath
from stepworks.kubeflow.lint.finding import Severity
from stepworks.kubeflow.lint.rule import Context, Found, input_type, rule


def _accelerated(context: Context) -> Iterator[tuple[Task, Executor, Accelerator]]:
    """Every executor with an accelerator, once; one whose count is 0 has none."""
    for task, executor in context.containers:
        accelerator = executor.accelerator
        if accelerator and accelerator.count != 0:
            yield task, executor, accelerator


@rule(
    "A01",
    Severity.WARNING,
    "An accelerator without a toleration or a node selector",
    why="Accelerator nodes are tainted in most clusters, so the pod waits for ever; without a selector it takes any "
    "type of accelerator.",
    do="Add the toleration of the taint and the selector of the node's type; a placement of a target has both.",
    backend="kubeflow",
)
def accelerator_without_node(context: Context) -> Iterator[Found]:
    """Every executor with an accelerator has a toleration and a node selector or node affinity."""
    for task, executor, accelerator in _accelerated(context):
        kubernetes = executor.kubernetes
        missing = []
        if not (kubernetes and kubernetes.tolerations):
            missing.append("toleration")
        if not (kubernetes and (kubernetes.node_selector or kubernetes.dynamic_selector or kubernetes.node_affinity)):
            missing.append("node selector")
        if missing:
            yield Found(
                f"The task asks for {_asked_for(accelerator)} and has no {' and no '.join(missing)}",
                accelerator.location,
                task.path,
                executor.label,
            )


def _asked_for(accelerator: Accelerator) -> str:
    text = f"{accelerator.count_text or '?'} {accelerator.type}"
    return "accelerators that parameters give" if "{{" in text else text


@rule(
    "A02",
    Severity.ERROR,
    "The number of accelerators comes from a whole-number parameter",
    why="KFP's driver reads only texts there: the pod starts without an accelerator, and nothing says so.",
    do="Declare the parameter as `str`, and give '1'.",
    backend="kubeflow",
)
def count_from_number(context: Context) -> Iterator[Found]:
    """A count that a parameter gives is given by one of the type STRING."""
    for task, executor, accelerator in _accelerated(context):
        name = placeholder_input(accelerator.count_text)
        type_ = input_type(context, task, name) if name else ""
        if type_ and type_ != "STRING":
            yield Found(
                f"The number of accelerators comes from {name}, which is of the type {type_}; STRING was expected",
                (*accelerator.location, "resourceCount"),
                task.path,
                executor.label,
            )


@rule(
    "A03",
    Severity.ERROR,
    "The number of accelerators is missing, or no whole number",
    why="KFP sets no limit then, and the pod starts without an accelerator; Kubernetes has no fractions of one.",
    do="Give a whole number; for a part of a GPU use a MIG profile as the resource.",
)
def count_is_no_number(context: Context) -> Iterator[Found]:
    """A count that the IR has is a whole number."""
    for task, executor, accelerator in _accelerated(context):
        if accelerator.count is None and "{{" not in accelerator.count_text:
            yield Found(
                f"The number of accelerators is {accelerator.count_text or 'missing'}; a whole number was expected",
                accelerator.location,
                task.path,
                executor.label,
            )


@rule(
    "A04",
    Severity.ERROR,
    "An accelerator has no resource name of Kubernetes",
    why="KFP takes the type as the name of the resource; no node has one of that name, so the pod waits for ever.",
    do="Give the resource name, `nvidia.com/gpu`, and choose the model by a node selector. Names such as "
    "NVIDIA_TESLA_A100 are of Vertex AI.",
    backend="kubeflow",
)
def accelerator_of_vertex(context: Context) -> Iterator[Found]:
    """The type of every accelerator is an extended resource, which has a domain."""
    for task, executor, accelerator in _accelerated(context):
        type_ = context.values.accelerator_type(task)
        if "/" not in type_ and "{{" not in type_:
            yield Found(
                f"The accelerator is {type_ or '(no type)'}; a resource such as nvidia.com/gpu was expected",
                accelerator.location,
                task.path,
                executor.label,
            )


@rule(
    "A05",
    Severity.WARNING,
    "A task asks for more than one MIG slice",
    why="A process of CUDA sees one MIG slice only; the others are held and not used.",
    do="Ask for one larger profile, or for whole GPUs.",
    backend="kubeflow",
)
def several_slices(context: Context) -> Iterator[Found]:
    """A MIG profile is asked for once."""
    for task, executor, accelerator in _accelerated(context):
        if "/mig-" in accelerator.type and (accelerator.count or 0) > 1:
            yield Found(
                f"The task asks for {accelerator.count} slices {accelerator.type}; one was expected",
                accelerator.location,
                task.path,
                executor.label,
            )


@rule(
    "R08",
    Severity.ERROR,
    "The pipeline may hold more accelerators at once than is allowed",
    why="Tasks beyond the quota wait, or take what others need; pods that wait for each other may wait for ever.",
    do="Set parallelism= on loops, let tasks wait for each other with .after(), or raise --max-gpus; give a parameter "
    "that is a number of accelerators a default.",
    parameters=("max_gpus",),
)
def too_many_accelerators(context: Context) -> Iterator[Found]:
    """The peak of the graph is at most `max_gpus`, or --max-gpus; nothing is said where neither is set.

    A task whose number of accelerators only the run knows is counted with one, and is a warning of its own.
    """
    peak, most = context.peak, context.limits.max_gpus
    if most is not None and peak.count > most:
        kinds = ", ".join(f"{number} {name}" for name, number in peak.by_type.items())
        yield Found(
            f"The pipeline may hold {peak.count} accelerators at once ({kinds}); at most {most} are allowed", ()
        )
    tasks = {task.path: task for task in context.ir.tasks}
    for path in peak.unknown if most is not None else ():
        yield Found(
            f"The task asks for a number of accelerators that only the run knows; at most {most} are allowed in all, "
            "and it is counted with 1",
            _count_location(tasks[path]),
            path,
            severity=Severity.WARNING,
        )


def _count_location(task: Task) -> JsonPath:
    accelerator = task.executor.accelerator if task.executor else None
    return accelerator.location if accelerator else task.location


@rule(
    "R09",
    Severity.WARNING,
    "A loop may hold any number of accelerators at once",
    why="As many pods ask for accelerators as there are items at run time.",
    do="Set parallelism= on dsl.ParallelFor.",
)
def unbounded_accelerators(context: Context) -> Iterator[Found]:
    """A loop around accelerators has items that are known, or a parallelism limit."""
    tasks = {task.path: task for task in context.ir.tasks}
    for path in context.peak.unbounded:
        task = tasks[path]
        location = task.iterator.location if task.iterator else task.location
        message = (
            "The loop has no parallelism limit, its items are known only at run time, and its tasks use accelerators"
        )
        yield Found(message, location, path)
