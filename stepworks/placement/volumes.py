"""Everything that a placement and its mounts put into a container's file system, and what of it clashes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stepworks.errors import ConfigurationError
from stepworks.placement.storage import SHARED_MEMORY_PATH, SHARED_MEMORY_VOLUME, Mount

if TYPE_CHECKING:
    from stepworks.placement.placement import Placement


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


def volumes_of(placement: Placement, mounts: Iterable[Mount] = ()) -> list[Volume]:
    """List what a container of a placement finds mounted, with the claims of `mounts`."""
    claims = [Volume(mount.mount_path, mount.claim, f"the claim {mount.claim}") for mount in mounts]
    secrets = [
        Volume(each.mount_path, each.name, f"the Secret {each.name}") for each in placement.secrets if each.mount_path
    ]
    config_maps = [
        Volume(each.mount_path, each.name, f"the ConfigMap {each.name}")
        for each in placement.config_maps
        if each.mount_path
    ]
    shared = [Volume(SHARED_MEMORY_PATH, SHARED_MEMORY_VOLUME, "shared_memory")] if placement.shared_memory else []
    return claims + secrets + config_maps + shared


def refuse_clash(placement: Placement, mounts: Iterable[Mount]) -> None:
    """Refuse mounts that clash with each other or with what the placement mounts.

    Raises:
        ConfigurationError: Two volumes share a path, or a name.
    """
    clash = find_clash(volumes_of(placement, mounts))
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
