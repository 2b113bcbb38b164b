"""Volumes of a pod: claims that exist, claims that are made for a run, KFP's workspace, and Vertex AI's buckets."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from stepworks.placement.names import DnsLabel, ObjectName
from stepworks.placement.quantity import parse_memory
from stepworks.settings_file import Setting

AccessMode = Literal["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"]
"""What a volume allows: one node writes, many nodes read, many nodes write, one pod writes."""

SINGLE_NODE_MODES: frozenset[AccessMode] = frozenset({"ReadWriteOnce", "ReadWriteOncePod"})
"""The modes of volumes that only one node, or one pod, can have at a time."""

WORKSPACE_PATH = "/kfp-workspace"
"""Where KFP mounts the workspace of a run; its driver refuses any other mount at or below it."""

BUCKETS_PATH = "/gcs"
"""Where Vertex AI mounts every bucket that the service account of a step may read."""

SHARED_MEMORY_PATH = "/dev/shm"  # noqa: S108  # a mount path, not a file that is made
SHARED_MEMORY_VOLUME = "shared-memory"


def check_mount_path(path: str) -> str:
    """Return a mount path as Kubernetes takes it.

    Raises:
        ValueError: It is not absolute, is the root, leaves its folder by `..`, holds a colon, or is KFP's.
    """
    parts = PurePosixPath(path).parts
    if len(parts) < 2 or parts[0] != "/" or ".." in parts or ":" in path:
        raise ValueError(f"the mount path {path!r} must be absolute, below /, and without .. and colons")
    if PurePosixPath(path).is_relative_to(WORKSPACE_PATH):
        raise ValueError(f"the mount path {path!r} is below {WORKSPACE_PATH}, which is KFP's own")
    return str(PurePosixPath(path))


def _check_sub_path(path: str) -> str:
    if path.startswith("/") or ".." in PurePosixPath(path).parts:
        raise ValueError(f"the sub path {path!r} must be relative and without ..")
    return path


def _check_size(size: str) -> str:
    if parse_memory(size) == 0:
        raise ValueError(f"the size {size} must be above 0")
    return size


BucketPath = Annotated[str, Field(pattern=r"^[a-z0-9][-a-z0-9_.]{1,61}[a-z0-9](/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$")]
"""A bucket of Cloud Storage, or a folder in one: `bucket/path`."""

MountPath = Annotated[str, AfterValidator(check_mount_path)]
SubPath = Annotated[str, AfterValidator(_check_sub_path)]
Size = Annotated[str, AfterValidator(_check_size)]
"""The size of a volume, `10Gi`, in whole numbers."""


class Mount(Setting):
    """A PersistentVolumeClaim in a container.

    Attributes:
        claim: The claim's name; no dots and at most 63 characters, since KFP names the volume by it.
        mount_path: Where it is mounted; absolute.
        access_mode: The claim's access mode, as its owner made it.
        read_only: Whether the container only reads. A ReadOnlyMany claim can be mounted in no other way.
        sub_path: A folder in the volume, relative; empty for the whole volume.
    """

    claim: DnsLabel
    mount_path: MountPath
    access_mode: AccessMode
    read_only: bool = False
    sub_path: SubPath = ""

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_read_only(f"the claim {self.claim}", self.access_mode, read_only=self.read_only)
        return self


def mount_of(path: str | PurePosixPath, mounts: Iterable[Mount]) -> Mount | None:
    """The mount that a path of a pod is in, the innermost of several; None where it is in none."""
    within = [mount for mount in mounts if PurePosixPath(path).is_relative_to(mount.mount_path)]
    return max(within, key=lambda mount: len(mount.mount_path), default=None)


class NewVolume(Setting):
    """A volume that is made for a run.

    Attributes:
        size: How large, `10Gi`.
        storage_class: The StorageClass that makes it; without it, the cluster's default one. An empty name is refused:
            to Kubernetes it means that no volume is made at all.
    """

    size: Size
    storage_class: ObjectName | None = None


class Claim(Setting):
    """What a target has under the name of a claim; exactly one of `claim`, `create`, `workspace` and `gcs`.

    Attributes:
        claim: A PersistentVolumeClaim that exists in the namespace.
        create: A claim that is made for each run, and deleted by the run's exit step.
        workspace: KFP's workspace, which KFP makes for each run, mounts at `/kfp-workspace` and deletes with it.
        gcs: A folder in Cloud Storage, `bucket/path`, which every step of Vertex AI finds at `/gcs/bucket/path`.
        mount_path: Where the claim is mounted; not given for a workspace or a folder in Cloud Storage, which have
            their places.
        access_mode: What the volume allows.
        read_only: Whether tasks only read; for a claim that exists.
        sub_path: A folder in the volume; for a claim that exists.
    """

    claim: DnsLabel | None = None
    create: NewVolume | None = None
    workspace: NewVolume | None = None
    gcs: BucketPath | None = None
    mount_path: MountPath | None = None
    access_mode: AccessMode
    read_only: bool = False
    sub_path: SubPath = ""

    @property
    def path(self) -> str:
        """The path at which a container finds the volume."""
        return f"{BUCKETS_PATH}/{self.gcs}" if self.gcs else self.mount_path or WORKSPACE_PATH

    def mount(self, name: str) -> Mount:
        """The mount of a PersistentVolumeClaim of this name."""
        return Mount(
            claim=name,
            mount_path=self.path,
            access_mode=self.access_mode,
            read_only=self.read_only,
            sub_path=self.sub_path,
        )

    @model_validator(mode="after")
    def _check(self) -> Self:
        given = [name for name in ("claim", "create", "workspace", "gcs") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"needs exactly one of claim, create, workspace and gcs, and has {' and '.join(given) or 'none'}"
            )
        if self.workspace and self.mount_path:
            raise ValueError(f"mount_path is {self.mount_path}, but KFP mounts a workspace at {WORKSPACE_PATH} itself")
        if self.gcs and (self.mount_path or self.sub_path or self.read_only or self.access_mode != "ReadWriteMany"):
            raise ValueError(
                "a folder in Cloud Storage has no mount_path, sub_path and read_only, and is ReadWriteMany: Vertex AI "
                "mounts its bucket whole"
            )
        if not (self.workspace or self.gcs) and self.mount_path is None:
            raise ValueError("mount_path is missing: where the claim is mounted, for example /mnt/data")
        _check_read_only("a claim", self.access_mode, read_only=self.read_only)
        if not self.claim and (self.read_only or self.sub_path):
            raise ValueError("read_only and sub_path are for a claim that exists; what a run makes starts empty")
        return self


def _check_read_only(what: str, access_mode: AccessMode, *, read_only: bool) -> None:
    if access_mode == "ReadOnlyMany" and not read_only:
        raise ValueError(f"{what} is ReadOnlyMany, so read_only must be true")


class _Source(Setting):
    """A Secret or a ConfigMap, as environment variables or as files; one of the two.

    Attributes:
        name: The object's name in the namespace; without dots and at most 63 characters if it is mounted.
        env: For each key of it, the environment variable that gets its value.
        mount_path: The folder in which each key is a file.
        optional: Whether the pod starts without the object.
    """

    name: ObjectName
    env: dict[str, Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]] = Field(default_factory=dict)
    mount_path: MountPath | None = None
    optional: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if bool(self.env) == bool(self.mount_path):
            raise ValueError(f"{self.name} needs one of env and mount_path, and has {'both' if self.env else 'none'}")
        if self.mount_path and ("." in self.name or len(self.name) > 63):
            raise ValueError(f"{self.name} cannot be mounted: KFP names the volume by it, so no dots, at most 63 long")
        return self


class SecretSource(_Source):
    """A Secret of the namespace in the container; its fields are those of a ConfigMap's."""


class ConfigMapSource(_Source):
    """A ConfigMap of the namespace in the container."""
