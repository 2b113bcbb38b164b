"""The one place where we reach into kfp's local runner.

kfp 2.17 runs a pipeline's tasks locally but tells nobody which task runs, where its log goes, or how it ended.
Three functions of it are replaced while a run lasts: the one that carries a task through its attempts, the one
that starts a task's process, and the one that orders tasks, whose order differs from run to run. A test holds
their names and signatures, so that an upgrade of kfp that moves them is seen there and not in a user's run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from kfp.local import graph_utils, status, subprocess_task_handler
from kfp.local.orchestrator import task_executor

from stepworks.kubeflow.local.steps import component_name, running_order


class TaskObserver(Protocol):
    """Is told of every execution of a task, and starts its processes."""

    def task_started(self, name: str, component: str) -> None:
        """An execution of a task begins, with its first attempt."""
        ...

    def task_ended(self, *, succeeded: bool, outputs: Mapping[str, Any]) -> None:
        """The calling thread's execution has ended, after its last attempt; it has no outputs when it failed."""
        ...

    def run_process(self, command: list[str], environment: dict[str, str]) -> int:
        """Run one attempt of the calling thread's execution to its end; return the exit code."""
        ...


@contextmanager
def observed_by(observer: TaskObserver) -> Iterator[None]:
    """Have `observer` told of every task that kfp runs locally within the block."""
    execute_single_task: Callable[..., Any] = task_executor.execute_single_task
    run_local_subprocess = subprocess_task_handler.run_local_subprocess
    topological_sort_tasks = graph_utils.topological_sort_tasks

    def execute(*, task_name: str, task_spec: Any, **arguments: Any) -> tuple[dict[str, Any], status.Status]:
        observer.task_started(task_name, component_name(task_spec))
        try:
            outputs, ended = execute_single_task(task_name=task_name, task_spec=task_spec, **arguments)
        except Exception:
            observer.task_ended(succeeded=False, outputs={})
            raise
        observer.task_ended(succeeded=ended == status.Status.SUCCESS, outputs=outputs)
        return outputs, ended

    def run(full_command: list[str], env_vars: dict[str, str] | None = None) -> int:
        return observer.run_process(full_command, env_vars or {})

    def sort(tasks: Mapping[str, Any]) -> list[str]:
        return running_order({name: task.dependent_tasks for name, task in tasks.items()})[::-1]  # kfp pops the last

    graph_utils.topological_sort_tasks = sort
    task_executor.execute_single_task = execute
    subprocess_task_handler.run_local_subprocess = run
    try:
        yield
    finally:
        task_executor.execute_single_task = execute_single_task
        subprocess_task_handler.run_local_subprocess = run_local_subprocess
        graph_utils.topological_sort_tasks = topological_sort_tasks
