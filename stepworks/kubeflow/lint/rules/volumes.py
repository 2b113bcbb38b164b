"""Rules about claims: that a pod can mount them, and that tasks which run at once may."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from stepworks.kubeflow.ir import placeholders
from stepworks.kubeflow.ir.executor_model import Executor, Mount
from stepworks.kubeflow.ir.model import Task
from stepworks.kubeflow.ir.source import JsonPath, TaskOutput
from stepworks.kubeflow.ir.values import Origin
from stepworks.kubeflow.lint.finding import Severity
from stepworks.kubeflow.lint.rule import Context, Found, rule
from stepworks.placement.names import DNS_LABEL
from stepworks.placement.storage import WORKSPACE_PATH

_WORKSPACE_SETTINGS = ("kubernetes", "pipelineConfig", "workspace")
_CLAIM_MAKER = "argostub/createpvc"
"""The image that kfp writes for CreatePVC, which KFP's driver carries out itself."""

_SHAREABLE = {"ReadWriteMany", "ReadOnlyMany"}


def _mounts(context: Context) -> Iterator[tuple[Task, Executor, Mount]]:
    for task, executor in context.containers:
        for mount in executor.kubernetes.mounts if executor.kubernetes else ():
            yield task, executor, mount


@rule(
    "V01",
    Severity.WARNING,
    "Tasks that may run at once mount the same claim, or the workspace",
    why="A ReadWriteOnce claim is for one node: the second pod waits until the first has ended, or for ever.",
    do="State the claim's access mode in the configuration (claims:), or the workspace's in the pipeline, when it is "
    "ReadWriteMany or ReadOnlyMany; let the tasks wait for each other; or use object storage.",
    backend="kubeflow",
    parameters=("claims",),
)
def claim_at_once(context: Context) -> Iterator[Found]:
    """A volume that is not known to be ReadWriteMany or ReadOnlyMany is mounted by one task at a time.

    Volumes are claims, also those that a task of the run makes, and KFP's workspace.
    """
    by_volume: dict[Hashable, list[_Use]] = {}
    for use in (*_uses_of_claims(context), *_uses_of_workspace(context)):
        by_volume.setdefault(use.volume, []).append(use)
    for uses in by_volume.values():
        mode = uses[0].mode
        pair = None
        if mode not in _SHAREABLE:
            pair = context.concurrency.first_pair((use.task for use in uses), within=uses[0].within)
        if pair:
            use = next(use for use in uses if use.task is pair[1])
            both = "iterations of one loop" if pair[0] is pair[1] else f"{pair[0].path} and {pair[1].path}"
            yield Found(
                f"{use.called} is mounted by tasks that may run at once ({both}), and its access mode is "
                f"{mode or 'not known'}; ReadWriteMany or ReadOnlyMany was expected",
                use.location,
                pair[1].path,
                use.claim,
                Severity.ERROR if mode else None,
            )


@dataclass(frozen=True)
class _Use:
    """A task that mounts a volume.

    Attributes:
        task: The task.
        volume: What is the same for all that mount the same volume.
        called: What messages call it.
        claim: The name of its claim; empty when only the run knows it.
        mode: Its access mode; empty when it is not known.
        within: The path of a task of which each run has a volume of its own; empty when the pipeline has one.
        location: Where the IR says so.
    """

    task: Task
    volume: Hashable
    called: str
    claim: str
    mode: str
    within: str
    location: JsonPath


def _uses_of_claims(context: Context) -> Iterator[_Use]:
    tasks = {task.path: task for task in context.ir.tasks}
    for task in context.ir.tasks:
        for mount in task.executor.kubernetes.mounts if task.executor and task.executor.kubernetes else ():
            value = mount.claim or context.values.of_source(task, mount.source)
            claim = value if isinstance(value, str) else ""
            origin = context.values.origin(task, mount.source)
            # An output, or the item of a loop, names another claim in each run of the dag that it is in.
            own = not claim and (origin.loop or isinstance(origin.source, TaskOutput))
            yield _Use(
                task,
                claim or (origin.holder, repr(origin.source), origin.selector),
                f"The claim {claim or '(known at run time)'}",
                claim,
                context.limits.claims.get(claim) or _made_mode(context, tasks, origin),
                origin.holder if own else "",
                mount.location,
            )


def _made_mode(context: Context, tasks: Mapping[str, Task], origin: Origin) -> str:
    """The access mode of a claim that a task of the run makes; empty when it is not known."""
    if not isinstance(origin.source, TaskOutput):
        return ""
    producer = tasks.get(f"{origin.holder}/{origin.source.task}" if origin.holder else origin.source.task)
    makes = producer is not None and producer.executor is not None and producer.executor.image == _CLAIM_MAKER
    return _widest(context.values.of_input(producer, "access_modes")) if producer and makes else ""


def _uses_of_workspace(context: Context) -> Iterator[_Use]:
    workspace = _inside(context.ir.platform, *_WORKSPACE_SETTINGS)
    if not workspace:
        return
    mode = _widest(_inside(workspace, "kubernetes", "pvcSpecPatch", "accessModes"))
    for task in context.ir.tasks:
        values = (context.values.of_source(task, each.source, each.selector) for each in task.inputs)
        if task.executor and any(isinstance(value, str) and _leads_into_workspace(value) for value in values):
            location = ("platforms", *_WORKSPACE_SETTINGS)
            yield _Use(task, WORKSPACE_PATH, "The workspace", "", mode, "", location)


def _leads_into_workspace(text: str) -> bool:
    """Whether KFP's driver mounts the workspace into a task that is given a text."""
    return placeholders.WORKSPACE in text or WORKSPACE_PATH in text


def _inside(value: object, *keys: str) -> object:
    """What is in nested mappings under some keys; None when one of them is not there."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _widest(modes: object) -> str:
    """The one of a claim's access modes that most tasks can share; empty when there is none."""
    texts = [mode for mode in modes if isinstance(mode, str)] if isinstance(modes, list) else []
    return next((mode for mode in texts if mode in _SHAREABLE), texts[0] if texts else "")


@rule(
    "V02",
    Severity.ERROR,
    "A claim is mounted in the place of the workspace",
    why=f"KFP's driver refuses mounts at and below {WORKSPACE_PATH}, and the task never starts.",
    do="Mount the claim elsewhere, or use the workspace itself.",
    backend="kubeflow",
)
def mount_in_workspace(context: Context) -> Iterator[Found]:
    """No claim is mounted at or below /kfp-workspace."""
    for task, executor, mount in _mounts(context):
        if PurePosixPath(mount.path).is_relative_to(WORKSPACE_PATH):
            message = (
                f"The claim {mount.claim} is mounted at {mount.path}; a path outside of {WORKSPACE_PATH} was expected"
            )
            yield Found(message, mount.location, task.path, f"{executor.label} {mount.path}")


@rule(
    "V03",
    Severity.ERROR,
    "A claim's name cannot be the name of a volume",
    why="KFP names the volume as the claim; Kubernetes refuses the pod when the name has a dot, capitals or more than "
    "63 characters.",
    do="Make the claim with a name of small letters, digits and hyphens.",
    backend="kubeflow",
)
def claim_name(context: Context) -> Iterator[Found]:
    """The name of every claim is a DNS label."""
    for task, executor, mount in _mounts(context):
        if mount.claim and "{{" not in mount.claim and not re.fullmatch(DNS_LABEL, mount.claim):
            message = f"The claim {mount.claim} has a name that no volume can have"
            yield Found(message, mount.location, task.path, f"{executor.label} {mount.claim}")


@rule(
    "V04",
    Severity.WARNING,
    "A task mounts a claim twice",
    why="KFP writes one volume for each mount, both of the claim's name; what comes of it depends on the server.",
    do="Mount the claim once, and use folders below the mount.",
    backend="kubeflow",
)
def claim_twice(context: Context) -> Iterator[Found]:
    """A task mounts each claim once."""
    seen: set[tuple[str, str]] = set()
    for task, executor, mount in _mounts(context):
        if mount.claim and (executor.label, mount.claim) in seen:
            message = f"The claim {mount.claim} is mounted a second time, at {mount.path}"
            yield Found(message, mount.location, task.path, f"{executor.label} {mount.claim}")
        seen.add((executor.label, mount.claim))


@rule(
    "V05",
    Severity.ERROR,
    "A mount path is taken twice, or relative, or a sub path is absolute",
    why="Kubernetes refuses the pod.",
    do="Give each claim an absolute path of its own; sub paths are relative to the volume.",
    backend="kubeflow",
)
def mount_path(context: Context) -> Iterator[Found]:
    """Mount paths are absolute and distinct, and sub paths are relative and stay in the volume."""
    seen: set[tuple[str, str]] = set()
    for task, executor, mount in _mounts(context):
        wrong = ""
        if not mount.path.startswith("/"):
            wrong = f"The mount path {mount.path or '(none)'} is not absolute"
        elif (executor.label, mount.path) in seen:
            wrong = f"The mount path {mount.path} is taken by another claim of the task"
        elif mount.sub_path.startswith("/") or ".." in PurePosixPath(mount.sub_path).parts:
            wrong = f"The sub path {mount.sub_path} leads out of the volume; a relative path was expected"
        seen.add((executor.label, mount.path))
        if wrong:
            yield Found(wrong, mount.location, task.path, f"{executor.label} {mount.path}")


@rule(
    "R10",
    Severity.WARNING,
    "The cache is on for a task that mounts a claim",
    why="KFP's cache knows the name of the claim and not what is on it, so the task is skipped though files changed.",
    do="Turn the cache off: task.set_caching_options(False).",
    backend="kubeflow",
)
def cached_claim(context: Context) -> Iterator[Found]:
    """A task that mounts a claim does not take an earlier result, unless it names its own cache key."""
    for task, executor in context.container_tasks:
        mounts = executor.kubernetes.mounts if executor.kubernetes else ()
        if task.cache and not task.cache_key and mounts:
            message = f"The task mounts {mounts[0].claim or 'a claim'} and its cache is on"
            yield Found(message, (*task.location, "cachingOptions"), task.path)
