"""What a task is given wherever it runs: its image, its environment, its cache and its retries."""

from __future__ import annotations

import shlex

from kfp import dsl

from stepworks.errors import ConfigurationError
from stepworks.kubeflow.component import family_of
from stepworks.placement.placement import Placement
from stepworks.placement.target import Target


def refuse_earlier_settings(task: dsl.PipelineTask, placement: Placement) -> None:
    """Refuse settings that the task was given before and that the placement would replace without a word.

    Raises:
        ConfigurationError: The cache was switched off, or retries or resources were set.
    """
    specification = task._task_spec  # noqa: SLF001  # kfp has no function that reads them
    earlier = {
        "set_caching_options(False)": placement.cache and specification.enable_caching is False,
        "set_retry(…)": placement.retry is not None and specification.retry_policy is not None,
        "set_cpu_limit(…) and the like": task.container_spec.resources is not None,
    }
    given = [name for name, clashes in earlier.items() if clashes]
    if given:
        raise ConfigurationError(
            f"The task {task.name} was given settings that its placement would replace",
            received=" and ".join(given),
            expected="a task as its component made it",
            what_to_do="Call kfp's own methods after place(task, role), or name a role whose placement says it.",
        )


def set_image(task: dsl.PipelineTask, target: Target) -> None:
    """Give a task the image of its family, and what the target has it install when it starts."""
    family = family_of(task)
    task.container_spec.image = target.image(family)
    requirement = target.requirement(family)
    if requirement:
        task.container_spec.command = [*install_command(requirement), *task.container_spec.command]


def install_command(requirement: str) -> list[str]:
    """What a container runs before its command to install a requirement: a shell that goes on with the command."""
    pip = "python3 -m pip install --quiet --disable-pip-version-check --no-cache-dir"
    return ["sh", "-ec", f'{pip} {shlex.quote(requirement)} && exec "$0" "$@"']


def set_environment(task: dsl.PipelineTask, placement: Placement) -> None:
    """Give a task the environment variables that follow from a placement."""
    if placement.environment:
        task.container_spec.env = {**(task.container_spec.env or {}), **placement.environment}


def set_cache_and_retry(task: dsl.PipelineTask, placement: Placement) -> None:
    """Set what belongs to the task itself, wherever it runs."""
    task.set_caching_options(placement.cache)
    if placement.retry:
        task.set_retry(
            num_retries=placement.retry.count,
            backoff_duration=f"{placement.retry.backoff_seconds}s",
            backoff_factor=placement.retry.factor,
            backoff_max_duration=f"{placement.retry.maximum_seconds}s",
        )
