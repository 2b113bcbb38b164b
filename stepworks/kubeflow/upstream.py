"""Tasks that run although a task before them failed."""

from __future__ import annotations

from kfp import dsl
from kfp.dsl import pipeline_channel
from kfp.dsl.types import type_utils

from stepworks.errors import ConfigurationError


def run_even_if_upstream_fails(task: dsl.PipelineTask) -> dsl.PipelineTask:
    """Have a task run whatever became of the tasks that it waits for.

    It is kfp's `ignore_upstream_failure`, which needs two things of the pipeline's author and tells neither
    plainly: that every input is passed, also those with a default, and that an input which a task before it fills
    has a default, to be used when that task failed.

    Args:
        task: The task.

    Returns:
        The task.

    Raises:
        ConfigurationError: An input is not passed, or has no default and comes from a task.
    """
    inputs = {
        name: each
        for name, each in (task.component_spec.inputs or {}).items()
        if not type_utils.is_task_final_status_type(each.type)
    }
    missing = [name for name in inputs if name not in task.inputs]
    if missing:
        raise ConfigurationError(
            f"The task {task.name} cannot run after a failure as it is called",
            received=f"no value for {', '.join(missing)}",
            expected="every input passed, also those with a default",
            what_to_do=f"Pass {', '.join(missing)} where the task is made.",
        )
    for name, each in inputs.items():
        value = task.inputs[name]
        if isinstance(value, pipeline_channel.PipelineChannel) and value.task_name and not each.optional:
            raise ConfigurationError(
                f"The task {task.name} would have nothing for its input {name} if the task {value.task_name} failed",
                received=f"{name}: an output of {value.task_name}, without a default",
                expected="an input with a default",
                what_to_do=f"Give {name} a default in the component, or leave the task to wait for a success.",
            )
    return task.ignore_upstream_failure()
