"""Rules about running: loops, retries, timeouts, the cache and exit handlers."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping

from stepworks.kubeflow.ir.executor_model import Executor
from stepworks.kubeflow.ir.model import ROOT, Task
from stepworks.kubeflow.ir.source import FinalStatus
from stepworks.kubeflow.lint.finding import Severity
from stepworks.kubeflow.lint.rule import Context, Found, rule

_PREEMPTIBLE = re.compile(r"spot|preempt", re.IGNORECASE)
_EFFECTS = {
    "delete", "deploy", "email", "notify", "promote", "publish", "push", "register", "rollback", "rollout", "send",
    "undeploy", "upload",
}  # fmt: skip
_EFFECT_PAIRS = {("roll", "out"), ("roll", "back")}
_ALWAYS = "ALL_UPSTREAM_TASKS_COMPLETED"


@rule(
    "R01",
    Severity.WARNING,
    "A loop has no parallelism limit",
    why="All iterations start at once: as many pods as there are items, whatever the quota.",
    do="Set parallelism= on dsl.ParallelFor.",
    parameters=("loop_items",),
)
def unlimited_loop(context: Context) -> Iterator[Found]:
    """A loop has a limit, or at most `loop_items` items, 10 by default, that the IR has."""
    for task in context.tasks:
        iterator = task.iterator
        if iterator is None or iterator.parallelism_limit is not None:
            continue
        if iterator.count is None:
            message = "The loop has no parallelism limit, and its items are known only at run time"
        elif iterator.count > context.limits.loop_items:
            message = f"The loop has no parallelism limit, and {iterator.count} items"
        else:
            continue
        yield Found(message, iterator.location, task.path)


@rule(
    "R02",
    Severity.INFO,
    "A task is not tried again when it fails",
    why="A lost node or a full registry ends the whole run.",
    do="Set task.set_retry(num_retries=2, backoff_duration='30s'), where the task can be repeated.",
)
def no_retry(context: Context) -> Iterator[Found]:
    """A hint for tasks without a retry policy."""
    for task, executor in context.container_tasks:
        if not _retried(task) and not _preemptible(executor):
            yield Found("The task has no retry policy", task.location, task.path)


def _retried(task: Task) -> bool:
    return task.retry is not None and task.retry.count > 0


def _preemptible(executor: Executor) -> str:
    """What says that the pod's node may be taken away; empty when nothing does."""
    kubernetes = executor.kubernetes
    if kubernetes is None:
        return ""
    for label, value in kubernetes.node_selector.items():
        if _PREEMPTIBLE.search(f"{label}={value}"):
            return f"the node selector {label}={value}"
    for toleration in kubernetes.tolerations:
        if _PREEMPTIBLE.search(f"{toleration.key}={toleration.value}"):
            return f"the toleration of {toleration.key}"
    return "an accelerator, for which training is preempted first" if executor.accelerator else ""


@rule(
    "R06",
    Severity.WARNING,
    "A task on nodes that may be taken away is not tried again",
    why="Spot nodes end at any time, and accelerators are taken by work of a higher priority; the run ends with them.",
    do="Set task.set_retry(num_retries=5, backoff_duration='60s'), and let the step resume from a checkpoint.",
    backend="kubeflow",
)
def preemptible_without_retry(context: Context) -> Iterator[Found]:
    """A task on spot or preemptible nodes, or with an accelerator, has a retry policy."""
    for task, executor in context.container_tasks:
        what = _preemptible(executor)
        if what and not _retried(task):
            yield Found(f"The task has {what}, and no retry policy", task.location, task.path)


@rule(
    "R03",
    Severity.WARNING,
    "The cache is on for a task with an effect outside of the run",
    why="With the same inputs the task is skipped: the model is not deployed, the message not sent.",
    do="Turn the cache off: task.set_caching_options(False).",
)
def cached_effect(context: Context) -> Iterator[Found]:
    """The cache is off for components whose name says that they deploy, register, upload, notify or delete."""
    for task, _ in context.container_tasks:
        words = re.split(r"[^a-z]+", task.component.removeprefix("comp-").lower())
        effects = sorted(_EFFECTS & set(words)) + [
            "-".join(pair) for pair in _EFFECT_PAIRS & set(itertools.pairwise(words))
        ]
        if effects and task.cache and not task.cache_key:
            message = f"The cache is on, and the name of the component says that it has an effect: {effects[0]}"
            yield Found(message, (*task.location, "cachingOptions"), task.path)


@rule(
    "R05",
    Severity.INFO,
    "A task has no timeout",
    why="A task that hangs holds its resources until someone looks; a warning where it holds an accelerator.",
    do="Set kfp.kubernetes.set_timeout(task, seconds), or an active deadline of the pipeline.",
    backend="kubeflow",
)
def no_timeout(context: Context) -> Iterator[Found]:
    """Every executor, or the pipeline, has an active deadline."""
    kubernetes = context.ir.platform.get("kubernetes")
    config = kubernetes.get("pipelineConfig") if isinstance(kubernetes, Mapping) else None
    if isinstance(config, Mapping) and config.get("activeDeadlineSeconds"):
        return
    for task, executor in context.containers:
        if not (executor.kubernetes and executor.kubernetes.timeout_seconds):
            held = executor.accelerator
            message = f"The task has no timeout, and holds {held.type}" if held else "The task has no timeout"
            severity = Severity.WARNING if held else None
            yield Found(message, (*executor.location, "container"), task.path, executor.label, severity)


@rule(
    "R07",
    Severity.WARNING,
    "An exit handler does not cover the whole pipeline",
    why="It runs when the tasks that it waits for have ended; a failure elsewhere ends the run without it.",
    do="Put dsl.ExitHandler around everything, in the outermost pipeline.",
)
def partial_exit_handler(context: Context) -> Iterator[Found]:
    """A task that is told how others ended is in the root; a hint when it does not wait for every other task there."""
    for dag in context.ir.dags.values():
        told = {
            task.name: {each.source.task for each in task.inputs if isinstance(each.source, FinalStatus)}
            for task in dag.tasks.values()
            if task.strategy == _ALWAYS
        }
        exits = {name: tasks for name, tasks in told.items() if tasks}
        covered = set().union(*exits.values()) | set(exits)
        for name in exits:
            task, missed = dag.tasks[name], sorted(set(dag.tasks) - covered)
            if dag.component != ROOT:
                message = f"The exit handler is inside of {dag.component}, and sees only how the tasks there ended"
                yield Found(message, task.location, task.path)
            elif missed:
                message = f"The exit handler does not see how {', '.join(missed[:3])} ended"
                yield Found(message, task.location, task.path, severity=Severity.INFO)
