"""Accelerators as Kubernetes counts them: extended resources of a node, and the slices that NVIDIA's MIG makes."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Self

from pydantic import Field, model_validator

from stepworks.settings_file import Setting

_MIG = "nvidia.com/mig-"

MIG_PROFILES: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {
        "a100-40gb": {
            "1g.5gb": 7,
            "1g.5gb+me": 1,
            "1g.10gb": 4,
            "2g.10gb": 3,
            "3g.20gb": 2,
            "4g.20gb": 1,
            "7g.40gb": 1,
        },
        "a100-80gb": {
            "1g.10gb": 7,
            "1g.10gb+me": 1,
            "1g.20gb": 4,
            "2g.20gb": 3,
            "3g.40gb": 2,
            "4g.40gb": 1,
            "7g.80gb": 1,
        },
        "h100-80gb": {
            "1g.10gb": 7,
            "1g.10gb+me": 1,
            "1g.20gb": 4,
            "2g.20gb": 3,
            "3g.40gb": 2,
            "4g.40gb": 1,
            "7g.80gb": 1,
        },
        "h200-141gb": {
            "1g.18gb": 7,
            "1g.18gb+me": 1,
            "1g.35gb": 4,
            "2g.35gb": 3,
            "3g.71gb": 2,
            "4g.71gb": 1,
            "7g.141gb": 1,
        },
    }
)
"""For each GPU, its MIG profiles and how many slices of one profile a GPU gives.

A profile's name tells its share: `3g.40gb` has three of seven compute slices and 40 GB; `+me` adds the media
engines, which only one slice of a GPU can have. As NVIDIA's MIG user guide lists them.
"""


KNOWN_RESOURCES: dict[str, tuple[str, ...]] = {
    "nvidia.com": ("gpu", "gpu.shared"),
    "amd.com": ("gpu",),
    "gpu.intel.com": ("i915", "xe"),
    "habana.ai": ("gaudi",),
}
"""The names of whole devices, by vendor: what the device plugins offer. MIG slices have a table of their own."""


class Accelerator(Setting):
    """An extended resource of the node; its request equals its limit, as Kubernetes demands of extended resources.

    Attributes:
        resource: The resource's name: `nvidia.com/gpu`, a MIG slice such as `nvidia.com/mig-1g.10gb`, `amd.com/gpu`,
            `gpu.intel.com/i915`, `gpu.intel.com/xe`, `habana.ai/gaudi`, or one of another vendor.
        count: How many of it a pod gets; a whole number, since a device is not divided. Of MIG slices a pod gets one:
            NCCL cannot join slices, so a second one would stay idle.
    """

    resource: str = Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$")
    count: int = Field(ge=1, strict=True)

    @property
    def mig_profile(self) -> str | None:
        """The MIG profile, `1g.10gb`; missing for a whole device."""
        return _profile(self.resource) if self.resource.startswith(_MIG) else None

    @property
    def taint_keys(self) -> frozenset[str]:
        """The keys by which nodes with this accelerator are commonly tainted.

        They are the resource's own name, the vendor's name for whole devices (nodes with MIG slices carry
        `nvidia.com/gpu`), and `gpu`.
        """
        return frozenset({self.resource, "nvidia.com/gpu" if self.mig_profile else self.resource, "gpu"})

    @model_validator(mode="after")
    def _check(self) -> Self:
        profile = self.mig_profile
        if profile is None:
            self._refuse_unknown_name()
            return self
        known = {name: gpu for gpu, profiles in MIG_PROFILES.items() for name in profiles}
        if profile not in known:
            raise ValueError(
                f"the resource {self.resource} is of no MIG profile that is known; those are "
                + "; ".join(f"{gpu}: {' '.join(map(mig_resource, names))}" for gpu, names in MIG_PROFILES.items())
            )
        if self.count != 1:
            raise ValueError(
                f"the count of {self.resource} is {self.count} and must be 1: NCCL cannot join MIG slices; take a "
                f"larger profile, or run more pods"
            )
        return self

    def _refuse_unknown_name(self) -> None:
        """A misspelt name is well formed, and no node ever offers it."""
        vendor, _, name = self.resource.partition("/")
        known = KNOWN_RESOURCES.get(vendor)
        if known and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            advice = f"did you mean {vendor}/{near[0]}?" if near else "no device plugin offers it"
            raise ValueError(f"the resource {self.resource} is not known; of {vendor} are {' '.join(known)}; {advice}")


def mig_resource(profile: str) -> str:
    """The resource by which the device plugin offers a MIG profile: `1g.10gb+me` is `nvidia.com/mig-1g.10gb.me`."""
    return _MIG + profile.replace("+", ".")


def _profile(resource: str) -> str:
    """The profile of a MIG resource, whether it is known or not."""
    return re.sub(r"\.me$", "+me", resource.removeprefix(_MIG))
