"""What a placement says for Vertex AI alone, where machines have names and nodes have no labels."""

from __future__ import annotations

from pydantic import Field

from stepworks.settings_file import Setting


class VertexSettings(Setting):
    """A machine of Vertex AI.

    Attributes:
        machine_type: The machine, `n1-standard-8` or `a2-highgpu-1g`.
        accelerator_type: What Vertex calls the accelerator, `NVIDIA_TESLA_A100`; how many is the placement's
            `accelerator.count`.
    """

    machine_type: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)+$")
    accelerator_type: str | None = Field(default=None, pattern=r"^[A-Z][A-Z0-9_]+$")
