"""Applying a placement to a task of a KFP pipeline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kfp import dsl
from kfp.dsl import structures

from stepworks.errors import ConfigurationError
from stepworks.kubeflow.check_task import check_task
from stepworks.kubeflow.executor_config import executor_config
from stepworks.kubeflow.pipeline import RunClaim, current_building, needs_run_claims
from stepworks.kubeflow.task_settings import (
    refuse_earlier_settings,
    set_cache_and_retry,
    set_environment,
    set_image,
)
from stepworks.placement.placement import Placement
from stepworks.placement.storage import WORKSPACE_PATH, Mount
from stepworks.placement.volumes import refuse_clash


def place(task: dsl.PipelineTask, role: str, *, mounts: Iterable[str] = ()) -> dsl.PipelineTask:
    """Give a task the image, the resources and the nodes that the target has for a role.

    On this machine, where no target is compiled for, the task is left as it is. In any case the step is asked whether
    it can work with what the task is given.

    Args:
        task: The task.
        role: What the task needs, as targets name it: `small`, `large`, `effects`, `training`.
        mounts: The claims to mount, as targets name them: `checkpoints`, `datasets`, `registry`.

    Raises:
        ConfigurationError: The target lacks the role, the claim or the image, KFP cannot express a field, a claim that
            is made for each run is mounted outside of `run_claims`, or the step cannot work with what it is given.
    """
    building = current_building()
    names = list(mounts)
    building.claims.update(names)
    check_task(task, building.in_images)
    target = building.target
    if target is None:
        return task
    placement = target.placement(role)
    refuse_earlier_settings(task, placement)
    if target.backend == "vertex":
        from stepworks.kubeflow.vertex.place import place_on_vertex  # for this backend only

        return place_on_vertex(task, placement, target, names)
    existing, made = [], []
    for name in names:
        claim = target.claim(name)
        if claim.claim:
            existing.append(claim.mount(claim.claim))
            continue
        run_claim = building.run_claims.get(name)
        if run_claim is None:
            raise needs_run_claims(name, target)
        if claim.create:
            made.append((claim.mount(name), run_claim.made))
        else:
            _refuse_without_workspace(task, name, run_claim)
    try:
        refuse_clash(placement.volumes, [*existing, *(mount for mount, _ in made)])
        set_image(task, target)
        apply_placement(task, placement, existing)
    except ConfigurationError as error:
        error.add_note(f"It is the placement {target.roles[role]} (the role {role}) of targets/{target.name}.yaml.")
        raise
    for mount, channel in made:
        from kfp import kubernetes  # few pipelines have such a claim

        kubernetes.mount_pvc(task, pvc_name=channel, mount_path=mount.mount_path)
    return task


def _refuse_without_workspace(task: dsl.PipelineTask, name: str, run_claim: RunClaim) -> None:
    """KFP mounts the workspace by itself, into tasks that are told a path in it."""
    if not any(isinstance(value, str) and run_claim.path in value for value in task.inputs.values()):
        raise ConfigurationError(
            f"The task {task.name} would not get the workspace {name}",
            received=f"no input that holds claim_path({name!r})",
            expected=f"a task that is told a path below it: KFP mounts {WORKSPACE_PATH} only into those",
            what_to_do=f'Give the path to the task, for example f"{{claim_path({name!r})}}/rows".',
        )


def apply_placement(task: dsl.PipelineTask, placement: Placement, mounts: Iterable[Mount] = ()) -> None:
    """Set every field of a placement, and mounts of claims, on a task.

    What the task was given before by kfp's own functions stays, unless the placement says otherwise. The
    priority class becomes the pod label `stepworks.dev/priority-class`, since KFP has no field for it.

    Raises:
        ConfigurationError: KFP cannot express a field, or two volumes clash.
    """
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
    set_environment(task, placement)
    set_cache_and_retry(task, placement)
    mounts = list(mounts)
    refuse_clash(placement.volumes, mounts)
    settings = _merge(task.platform_config.get("kubernetes", {}), executor_config(placement, mounts))
    if settings:
        task.platform_config["kubernetes"] = settings


def _merge(before: Mapping[str, Any], added: Mapping[str, Any]) -> dict[str, Any]:
    """Join two settings: lists one after the other, mappings key by key, of single values the added one."""
    joined = dict(before)
    for key, value in added.items():
        if isinstance(value, list):
            joined[key] = [*before.get(key, []), *value]
        elif isinstance(value, dict):
            joined[key] = _merge(before.get(key, {}), value)
        else:
            joined[key] = value
    return joined
