"""Volumes that hold only what a run needs, and that go with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from kfp import dsl

from stepworks.components.operations.clean_up_run.component import clean_up_run
from stepworks.components.operations.make_claim.component import make_claim
from stepworks.components.operations.make_folder.component import make_folder
from stepworks.errors import ConfigurationError
from stepworks.kubeflow.pipeline import Building, RunClaim, current_building, local_claim_path
from stepworks.kubeflow.place import place
from stepworks.placement.storage import Claim, NewVolume


@contextmanager
def run_claims(*names: str, role: str = "effects") -> Iterator[None]:
    """Give the tasks within the block claims that hold only what this run needs.

    The target says how, and the pipeline is the same for each: with `create:` a claim is made for the run and
    deleted by an exit step, whatever became of the run; with `workspace:` it is KFP's workspace; with `claim:`,
    and on this machine, it is a folder of the run in a claim that stays, which a step makes and the exit step
    deletes. What else the run made in the cluster, such as a Job, the exit step deletes too; so there is one with
    `workspace:` as well. Within the block `claim_path(name)` is the run's own place, for a task's input, as a whole
    or within a longer text; it is no path yet, so it cannot be taken apart in the pipeline::

        with run_claims("scratch"):
            place(write(rows=f"{claim_path('scratch')}/rows"), "small", mounts=["scratch"])

    Only one such block is in a pipeline, outside of loops and conditions, since the exit step deletes all that
    the run made.

    Args:
        names: The claims, as targets name them.
        role: What the steps that make and delete claims need, as targets name it. Its results must not be cached.

    Raises:
        ConfigurationError: The target lacks a claim, has one that is only read, or caches the role; or the pipeline
            has such a block already.
    """
    building = current_building()
    _refuse_second_block(building, names)
    building.claims.update(names)
    target = building.target
    if target and target.placement(role).cache:
        raise ConfigurationError(
            f"Steps that make and delete claims must not be taken from the cache, and {role} may be",
            received=f"the placement {target.roles[role]} of the target {target.name}, with cache: true",
            expected="a role whose placement has cache: false",
            what_to_do="Name another role, for example run_claims(..., role='effects').",
        )
    claims = {name: target.claim(name) for name in names} if target else {}
    for name, claim in claims.items():
        _refuse_read_only(name, claim)
    made = {name: claim.create for name, claim in claims.items() if claim.create}
    workspaces = {name: claim.workspace for name, claim in claims.items() if claim.workspace}
    staying = [name for name in names if name not in made and name not in workspaces]
    parents = {name: target.claim(name).path if target else local_claim_path(name) for name in staying}
    with ExitStack() as stack:
        exit_task = clean_up_run(
            run=dsl.PIPELINE_JOB_ID_PLACEHOLDER, objects=bool(made), folders=list(parents.values())
        )
        # Whether the tasks within the block make objects is known when they are all there.
        stack.callback(lambda: exit_task.inputs.update(objects=bool(made) or building.makes_objects))
        stack.enter_context(dsl.ExitHandler(place(exit_task, role, mounts=staying), name="clean-up"))
        for name, parent in parents.items():
            folder = place(make_folder(parent=parent, run=dsl.PIPELINE_JOB_ID_PLACEHOLDER), role, mounts=[name])
            building.run_claims[name] = RunClaim(str(folder.outputs["folder"]))
        _use_workspace(building, workspaces)
        for name, volume in made.items():
            _make(building, name, volume, role)
        yield


def _refuse_second_block(building: Building, names: tuple[str, ...]) -> None:
    if building.run_claims or not names:
        raise ConfigurationError(
            "A pipeline has one block of run_claims, with all the claims",
            received=f"a second one, with {', '.join(names)}" if names else "a block without claims",
            expected=f"with run_claims({', '.join(repr(name) for name in [*building.run_claims, *names])}):",
        )


def _refuse_read_only(name: str, claim: Claim) -> None:
    """Refuse a claim in which neither the run can make its folder nor the exit step delete it."""
    if claim.read_only:
        raise ConfigurationError(
            f"The claim {name} is only read, and a run writes to its own place in it",
            received=f"access_mode: {claim.access_mode}, read_only: true",
            expected="a claim that the run can write to",
            what_to_do=f"Name another claim; of this one tasks can only read: place(..., mounts=[{name!r}]).",
        )


def _use_workspace(building: Building, workspaces: dict[str, NewVolume]) -> None:
    """Ask KFP for the workspace. It has one for a run, so two claims cannot both be it."""
    if len(workspaces) > 1:
        raise ConfigurationError(
            "KFP has one workspace for a run",
            received=f"workspace: for {', '.join(workspaces)}",
            expected="workspace: for one claim",
            what_to_do="Give the others create: in the target's file.",
        )
    for name, volume in workspaces.items():
        assert building.target is not None
        patch: dict[str, object] = {"accessModes": [building.target.claim(name).access_mode]}
        if volume.storage_class:
            patch["storageClassName"] = volume.storage_class
        building.configuration.workspace = dsl.WorkspaceConfig(
            size=volume.size, kubernetes=dsl.KubernetesWorkspaceConfig(pvcSpecPatch=patch)
        )
        building.run_claims[name] = RunClaim(dsl.WORKSPACE_PATH_PLACEHOLDER)


def _make(building: Building, name: str, volume: NewVolume, role: str) -> None:
    assert building.target is not None
    claim = building.target.claim(name)
    task = make_claim(
        name=name,
        run=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
        size=volume.size,
        access_mode=claim.access_mode,
        storage_class=volume.storage_class or "",
    )
    made = place(task, role).outputs["claim"]
    building.run_claims[name] = RunClaim(claim.path, made)
    building.made_claims[f"{task.name}-{made.name}"] = name
