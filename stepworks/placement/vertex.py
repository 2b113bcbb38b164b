"""What a placement and a target say for Vertex AI alone, where machines have names and nodes have no labels."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from stepworks.placement.vertex_machines import counts_of, known_accelerators, machines_with
from stepworks.settings_file import Setting, located_fault

WHOLE_TRAFFIC = 100
"""In percent."""

NEW_MODEL = "0"
"""By which a traffic split names the model that is being deployed, before Vertex has given it an id."""

_ACCOUNT = r"^[a-z0-9][-a-z0-9]*@[-a-z0-9.]+\.gserviceaccount\.com$"


class BootDisk(Setting):
    """The disk of a custom job's machine; it holds the image, and what the step writes outside of `/gcs`.

    Attributes:
        type: `pd-ssd`, or the slower `pd-standard`.
        size_gb: Its size in GB, 100 to 64,000.
    """

    type: Literal["pd-ssd", "pd-standard"] = "pd-ssd"
    size_gb: int = Field(default=100, ge=100, le=64_000, strict=True)


class VertexSettings(Setting):
    """A machine of Vertex AI. A step with one is a custom job.

    Attributes:
        machine_type: The machine, `n1-standard-8` or `a2-highgpu-1g`.
        accelerator_type: What Vertex calls the accelerator, `NVIDIA_TESLA_A100`; how many is the placement's
            `accelerator.count`.
        boot_disk: The machine's disk.
        service_account: The email of the account that the job, or the deployed model, runs as; without it, Vertex's
            own one for custom code.
    """

    machine_type: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)+$")
    accelerator_type: str | None = Field(default=None, pattern=r"^[A-Z][A-Z0-9_]+$")
    boot_disk: BootDisk = BootDisk()
    service_account: str | None = Field(default=None, pattern=_ACCOUNT)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.accelerator_type is None:
            return self
        if self.accelerator_type not in known_accelerators():
            raise located_fault(
                ("accelerator_type",),
                f"{self.accelerator_type} is no accelerator of Vertex AI that is known; those are "
                f"{', '.join(known_accelerators())}",
            )
        if not counts_of(self.machine_type, self.accelerator_type):
            raise located_fault(
                ("machine_type",),
                f"the machine {self.machine_type} has no {self.accelerator_type}; those that have it are "
                f"{', '.join(machines_with(self.accelerator_type))}",
            )
        return self


class Endpoint(Setting):
    """Where a target with the backend vertex deploys models.

    Attributes:
        name: The resource name of an endpoint that exists, `projects/P/locations/L/endpoints/E`. Without it, each run
            makes an endpoint of its own.
        traffic_split: Percent of the endpoint's traffic by the id of the deployed model; `0` is the one that is being
            deployed. Without it, a new endpoint sends everything to the model, and one that exists sends it nothing
            until its owner moves traffic.
        minimum_replicas: Machines that are always up.
        maximum_replicas: The most machines under load.
    """

    name: str | None = Field(default=None, pattern=r"^projects/[-a-z0-9]+/locations/[a-z0-9-]+/endpoints/[0-9a-z-]+$")
    traffic_split: dict[str, int] = Field(default_factory=dict)
    minimum_replicas: int = Field(default=1, ge=1, strict=True)
    maximum_replicas: int = Field(default=1, ge=1, strict=True)

    @property
    def split(self) -> dict[str, int]:
        """The traffic split to deploy with; empty where the endpoint's own one stays."""
        return self.traffic_split or ({} if self.name else {NEW_MODEL: WHOLE_TRAFFIC})

    @model_validator(mode="after")
    def _check(self) -> Self:
        split = self.traffic_split
        if split and (sum(split.values()) != WHOLE_TRAFFIC or min(split.values()) < 0):
            raise located_fault(("traffic_split",), f"the traffic split {split} must add up to 100 percent")
        if split and not self.name and set(split) != {NEW_MODEL}:
            raise located_fault(
                ("traffic_split",),
                f"the traffic split {split} names models of an endpoint that is new and has none; give the endpoint's "
                f"name",
            )
        if self.maximum_replicas < self.minimum_replicas:
            raise located_fault(
                ("maximum_replicas",),
                f"maximum_replicas is {self.maximum_replicas}, below minimum_replicas, which is "
                f"{self.minimum_replicas}",
            )
        return self
