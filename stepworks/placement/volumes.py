"""Everything that a placement and its mounts put into a container's file system, and what of it clashes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from stepworks.errors import ConfigurationError
from stepworks.placement.storage import (
    SHARED_MEMORY_PATH,
    SHARED_MEMORY_VOLUME,
    ConfigMapSource,
    Mount,
    SecretSource,
)


@dataclass(frozen=True)
class Volume:
    """Something at a path of a container.

    Attributes:
        path: The mount path.
        name: The name of the pod's volume. KFP names it by what it holds, and so do we.
        what: What it holds, for people: `the claim data`.
    """

    path: str
    name: str
    what: str


def file_volumes(
    secrets: Iterable[SecretSource], config_maps: Iterable[ConfigMapSource], *, shared_memory: bool
) -> list[Volume]:
    """List what a placement itself mounts: Secrets and ConfigMaps as files, and shared memory."""
    kinds = (("Secret", secrets), ("ConfigMap", config_maps))
    files = [
        Volume(each.mount_path, each.name, f"the {kind} {each.name}")
        for kind, sources in kinds
        for each in sources
        if each.mount_path
    ]
    return files + ([Volume(SHARED_MEMORY_PATH, SHARED_MEMORY_VOLUME, "shared_memory")] if shared_memory else [])


def refuse_clash(volumes: Iterable[Volume], mounts: Iterable[Mount]) -> None:
    """Refuse claims that clash with each other, or with what the placement mounts.

    Args:
        volumes: What the placement mounts.
        mounts: The claims.

    Raises:
        ConfigurationError: Two volumes share a path, or a name.
    """
    claims = [Volume(mount.mount_path, mount.claim, f"the claim {mount.claim}") for mount in mounts]
    clash = find_clash([*claims, *volumes])
    if clash:
        raise ConfigurationError(
            "A pod cannot mount all that it asks for", received=clash, what_to_do="Change the target's file."
        )


def find_clash(volumes: Iterable[Volume]) -> str | None:
    """Say which two volumes share a path, or a name; missing if none do."""
    by_path: dict[str, Volume] = {}
    by_name: dict[str, Volume] = {}
    for volume in volumes:
        other = by_path.setdefault(volume.path, volume)
        if other is not volume:
            return (
                f"{other.what} and {volume.what} are both mounted at {volume.path}; give one of them another mount_path"
            )
        named = by_name.setdefault(volume.name, volume)
        if named.what != volume.what:
            return (
                f"{named.what} and {volume.what} would both be the volume {volume.name} of the pod; rename one of them"
            )
    return None
