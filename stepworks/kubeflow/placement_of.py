"""What the target of a pipeline says to steps that make pods of their own."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from stepworks.errors import ConfigurationError
from stepworks.kubeflow.pipeline import current_building, needs_run_claims
from stepworks.placement.pod_placement import PodPlacement
from stepworks.placement.target import Target


def placement_of(role: str, *, mounts: Iterable[str] = ()) -> dict[str, Any]:
    """What the target has for a role, as a parameter of a step that makes pods.

    A task is placed by `place`; the pods that a step makes, those of a Job, are placed by what it is given here::

        place(run_job(..., placement=placement_of("training", mounts=["scratch"])), "effects", mounts=["scratch"])

    Args:
        role: What the pods need, as targets name it: `training`.
        mounts: The claims that the pods mount, as targets name them.

    Returns:
        The placement and the mounts as JSON: see `PodPlacement`. On this machine only their names.

    Raises:
        ConfigurationError: The target lacks the role or the claim, is one of Vertex AI, has the claim as KFP's
            workspace, or makes it for each run and `run_claims` does not.
    """
    building = current_building()
    names = tuple(mounts)
    building.claims.update(names)
    building.makes_objects = True
    if building.target is None:
        return PodPlacement(role=role, claims=names).to_json()
    return pod_placement(building.target, role, names, building.run_claims).to_json()


def pod_placement(
    target: Target, role: str, claims: Iterable[str] = (), run_claims: Collection[str] = ()
) -> PodPlacement:
    """What a target has for a role, for pods that no task of Kubeflow Pipelines is.

    Args:
        target: The target.
        role: What the pods need, as the target names it.
        claims: The claims that they mount, as the target names them.
        run_claims: The claims that the run makes.

    Raises:
        ConfigurationError: As `placement_of` says.
    """
    if target.backend == "vertex":
        raise ConfigurationError(
            "Pods need a Kubernetes cluster",
            received=f"the target {target.name}, with the backend vertex",
            expected="a target with the backend kubeflow",
            what_to_do="Compile for targets that have pods: --target a100, or @pipeline(targets=[…]) in the file. In a "
            "pipeline for both, leave the step out there: `if not on_vertex():`",
        )
    names = tuple(claims)
    existing, made = [], []
    for name in names:
        claim = target.claim(name)
        if claim.workspace:
            raise _is_workspace(name, target)
        if claim.claim:
            existing.append(claim.mount(claim.claim))
        elif name in run_claims:
            made.append(claim.mount(name))
        else:
            raise needs_run_claims(name, target)
    return PodPlacement(
        role=role,
        claims=names,
        target=target.name,
        placement=target.placement(role),
        mounts=tuple(existing),
        run_mounts=tuple(made),
    )


def image_of(name: str) -> str:
    """The image that the target has under a name, for the pods that a step makes.

    Args:
        name: A name below `images:` of the target's file: a family of steps, such as `gpu`, or one of your own.

    Returns:
        The reference of the image; on this machine the name itself.

    Raises:
        ConfigurationError: The target has no such image.
    """
    target = current_building().target
    return target.image(name) if target else name


def _is_workspace(name: str, target: Target) -> ConfigurationError:
    return ConfigurationError(
        f"The claim {name} is KFP's workspace, which only KFP's own tasks can mount",
        received=f"{name}: workspace, for pods that a step makes",
        expected="a claim that exists, or one that is made for the run",
        what_to_do=f"Give {name} a `claim:` or `create:` in targets/{target.name}.yaml.",
    )
