"""Applying a placement to a task of a pipeline for Vertex AI."""

from __future__ import annotations

from collections.abc import Iterable

from kfp import dsl
from kfp.dsl import structures

from stepworks.errors import ConfigurationError
from stepworks.kubeflow.task_settings import set_cache_and_retry, set_environment, set_image
from stepworks.kubeflow.vertex.custom_job import run_as_custom_job
from stepworks.placement.placement import Placement
from stepworks.placement.target import Target
from stepworks.placement.vertex_rules import faults_on_vertex


def place_on_vertex(
    task: dsl.PipelineTask, placement: Placement, target: Target, claims: Iterable[str] = ()
) -> dsl.PipelineTask:
    """Give a task its image and its machine on Vertex AI.

    With a machine in the placement (`vertex:`) it becomes a custom job. Without one Vertex finds a machine that has
    what the limits say. Claims are folders in Cloud Storage, which Vertex mounts into every step by itself.

    Args:
        task: The task, as its component made it.
        placement: Where it runs.
        target: Where its image and its claims are.
        claims: The claims that it uses, as the target names them.

    Returns:
        The task.

    Raises:
        ConfigurationError: Vertex cannot express a field, or the target lacks the image or a claim.
    """
    refuse_inexpressible(placement)
    for name in claims:
        target.claim(name)
    set_image(task, target)
    set_environment(task, placement)
    set_cache_and_retry(task, placement)
    if placement.vertex:
        run_as_custom_job(task, placement, placement.vertex)
    else:
        # Vertex has no requests: it takes the smallest machine that has the limits.
        task.container_spec.resources = structures.ResourceSpec(
            cpu_limit=placement.cpu.limit, memory_limit=placement.memory.limit
        )
    return task


def refuse_inexpressible(placement: Placement) -> None:
    """Refuse a placement that Vertex AI cannot express, whether it came from a target's file or not.

    Raises:
        ConfigurationError: It has such a field; the message names the field and Vertex.
    """
    for fault in faults_on_vertex(placement):
        raise ConfigurationError(
            f"Vertex AI cannot run a task with the placement's {'.'.join(fault.field)}",
            received=fault.message,
            what_to_do="Change the placement, as docs/vertex.md describes its fields.",
        )
