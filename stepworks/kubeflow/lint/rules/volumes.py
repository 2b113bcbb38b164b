"""Rules about claims: that a pod can mount them, and that tasks which run at once may."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from stepworks.kubeflow.ir.executor_model import Executor, Mount
from stepworks.kubeflow.ir.model import Task
from stepworks.kubeflow.lint.finding import Severity
from stepworks.kubeflow.lint.rule import Context, Found, rule

_WORKSPACE = PurePosixPath("/kfp-workspace")
_VOLUME_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SHAREABLE = {"ReadWriteMany", "ReadOnlyMany"}


def _mounts(context: Context) -> Iterator[tuple[Task, Executor, Mount]]:
    for task, executor in context.containers:
        for mount in executor.kubernetes.mounts if executor.kubernetes else ():
            yield task, executor, mount


@rule(
    "V01",
    Severity.WARNING,
    "Tasks that may run at once mount the same claim",
    why="A ReadWriteOnce claim is for one node: the second pod waits until the first has ended, or for ever.",
    do="State the claim's access mode in the configuration (claims:) when it is ReadWriteMany or ReadOnlyMany, let the "
    "tasks wait for each other, or use object storage.",
    backend="kubeflow",
    parameters=("claims",),
)
def claim_at_once(context: Context) -> Iterator[Found]:
    """A claim that is not known to be ReadWriteMany or ReadOnlyMany is mounted by one task at a time."""
    users: dict[str, list[tuple[Task, Mount]]] = {}
    for task in context.ir.tasks:
        for mount in task.executor.kubernetes.mounts if task.executor and task.executor.kubernetes else ():
            # A name that a run gives is the same for tasks of one dag that take it from the same place.
            users.setdefault(mount.claim or f"{task.parent} {mount.source}", []).append((task, mount))
    for key, mounts in users.items():
        mode = context.limits.claims.get(key, "")
        pair = None if mode in _SHAREABLE else context.concurrency.first_pair(task for task, _ in mounts)
        if pair:
            mount = next(mount for task, mount in mounts if task is pair[1])
            both = "iterations of one loop" if pair[0] is pair[1] else f"{pair[0].path} and {pair[1].path}"
            yield Found(
                f"The claim {mount.claim or '(known at run time)'} is mounted by tasks that may run at once "
                f"({both}), and its access mode is {mode or 'not known'}; ReadWriteMany or ReadOnlyMany was expected",
                mount.location,
                pair[1].path,
                mount.claim,
                Severity.ERROR if mode else None,
            )


@rule(
    "V02",
    Severity.ERROR,
    "A claim is mounted in the place of the workspace",
    why="KFP's driver refuses mounts at and below /kfp-workspace, and the task never starts.",
    do="Mount the claim elsewhere, or use the workspace itself.",
    backend="kubeflow",
)
def mount_in_workspace(context: Context) -> Iterator[Found]:
    """No claim is mounted at or below /kfp-workspace."""
    for task, executor, mount in _mounts(context):
        if PurePosixPath(mount.path).is_relative_to(_WORKSPACE):
            message = f"The claim {mount.claim} is mounted at {mount.path}; a path outside of {_WORKSPACE} was expected"
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
        if mount.claim and "{{" not in mount.claim and not _VOLUME_NAME.fullmatch(mount.claim):
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
