"""What a task is given wherever it runs: its image, its environment, its cache and its retries."""

from __future__ import annotations

import shlex

from kfp import dsl

from stepworks.kubeflow.component import family_of
from stepworks.placement.placement import Placement
from stepworks.placement.target import Target


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
