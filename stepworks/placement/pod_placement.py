"""The placement of pods that a step makes, on its way from the target to the step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from stepworks.placement.names import run_object_name
from stepworks.placement.placement import Placement
from stepworks.placement.storage import Mount
from stepworks.settings_file import ParameterValue, from_parameter


class PodPlacement(ParameterValue):
    """What a target has for a role, as the parameter of a step that makes pods.

    It is resolved when the pipeline is compiled, so that the IR shows which nodes and accelerators a job gets. On this
    machine, where no target is compiled for, only the role and the names of the claims are known.

    Attributes:
        role: What the pods need, as targets name it: `training`.
        claims: The claims that the pods mount, as targets name them.
        target: The target that it was resolved for; empty on this machine.
        placement: The placement; None on this machine.
        mounts: The claims that exist.
        run_mounts: The claims that are made for each run; the run's id is still missing from their names.
    """

    role: str
    claims: tuple[str, ...] = ()
    target: str = ""
    placement: Placement | None = None
    mounts: tuple[Mount, ...] = ()
    run_mounts: tuple[Mount, ...] = ()

    def mounts_of(self, run: str) -> tuple[Mount, ...]:
        """All mounts of the pods of a run; for the name of a claim that is made for the run see `run_object_name`.

        Raises:
            ConfigurationError: The run's id cannot be a part of a claim's name.
        """
        names = (run_object_name("PersistentVolumeClaim", each.claim, run) for each in self.run_mounts)
        made = (each.model_copy(update={"claim": name}) for each, name in zip(self.run_mounts, names, strict=True))
        return (*self.mounts, *made)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote, also after Kubeflow Pipelines has made every number in it a float.

        Raises:
            ParameterError: It is nothing that `to_json` writes.
        """
        return from_parameter(
            cls,
            value,
            name="placement",
            expected="what placement_of(role) returns",
            what_to_do="Write placement=placement_of('training') in the pipeline, and compile it again.",
        )
