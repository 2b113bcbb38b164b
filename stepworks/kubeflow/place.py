"""Applying a placement to a task of a KFP pipeline."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kfp import dsl, kubernetes
from kfp.dsl import structures

from stepworks.errors import ConfigurationError
from stepworks.kubeflow.component import family_of
from stepworks.kubeflow.pipeline import current_target, note_claim
from stepworks.placement.placement import Mount, Placement


def place(task: dsl.PipelineTask, role: str, *, mounts: Iterable[str] = ()) -> dsl.PipelineTask:
    """Give a task the image, the resources and the nodes that the target has for a role.

    On this machine, where no target is compiled for, the task is left as it is.

    Args:
        task: The task.
        role: What the task needs, as targets name it: `small`, `large`, `effects`, `training`.
        mounts: The claims to mount, as targets name them: `checkpoints`, `datasets`, `registry`.

    Raises:
        ConfigurationError: The target lacks the role, the claim or the image, or KFP cannot express a field.
    """
    names = list(mounts)
    for name in names:
        note_claim(name)
    target = current_target()
    if target is None:
        return task
    task.container_spec.image = target.image(family_of(task))
    apply_placement(task, target.placement(role))
    for name in names:
        apply_mount(task, target.claim(name))
    return task


def apply_placement(task: dsl.PipelineTask, placement: Placement) -> None:
    """Set every field of a placement on a task."""
    accelerator = placement.accelerator
    # What kfp's setters (set_cpu_request, …) set. Each of them inspects the whole stack for the name of its own
    # caller, which took two thirds of the time to compile.
    task.container_spec.resources = structures.ResourceSpec(
        cpu_request=placement.cpu.request,
        cpu_limit=placement.cpu.limit,
        memory_request=placement.memory.request,
        memory_limit=placement.memory.limit,
        # KFP has a limit only; Kubernetes takes the limit of an extended resource as its request.
        accelerator_type=accelerator and accelerator.resource,
        accelerator_count=accelerator and str(accelerator.count),
    )
    task.set_caching_options(placement.cache)
    for label, value in sorted(placement.node_selector.items()):
        kubernetes.add_node_selector(task, label, value)
    for toleration in placement.tolerations:
        kubernetes.add_toleration(task, **_given(toleration.model_dump()))
    if placement.retry:
        task.set_retry(
            num_retries=placement.retry.count,
            backoff_duration=f"{placement.retry.backoff_seconds}s",
            backoff_factor=placement.retry.factor,
            backoff_max_duration=f"{placement.retry.maximum_seconds}s",
        )
    if placement.timeout_seconds:
        kubernetes.set_timeout(task, placement.timeout_seconds)


def apply_mount(task: dsl.PipelineTask, mount: Mount) -> None:
    """Mount a claim into a task's container.

    Raises:
        ConfigurationError: The mount is read-only and the claim is not: KFP's PvcMount has no such field.
    """
    if mount.read_only and mount.access_mode != "ReadOnlyMany":
        raise ConfigurationError(
            f"A KFP task cannot mount the claim {mount.claim} read-only",
            received=f"read_only: true, access_mode: {mount.access_mode}",
            expected="a ReadOnlyMany claim, since KFP's PvcMount has no field read_only",
            what_to_do="Make the claim ReadOnlyMany, or set read_only: false in the target's file.",
        )
    kubernetes.mount_pvc(task, pvc_name=mount.claim, mount_path=mount.mount_path, sub_path=mount.sub_path)


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
