"""The examples of docs/targets.md are what the code takes."""

import re
from pathlib import Path
from typing import Any

import yaml

from stepworks.placement.accelerators import MIG_PROFILES
from stepworks.placement.placement import Placement
from stepworks.placement.storage import Claim
from stepworks.placement.target import Target

PAGE = (Path(__file__).parents[3] / "docs" / "targets.md").read_text()
CPU: dict[str, Any] = {"cpu": {"request": 1, "limit": 1}, "memory": {"request": "1Gi", "limit": "1Gi"}}


def examples() -> list[Any]:
    return [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]


def test_every_example_is_taken() -> None:
    whole, *parts, claims, without_images = examples()
    assert Target.model_validate(whole).placement("training").shared_memory == "16Gi"
    assert [list(part) for part in parts] == [["secrets", "config_maps"], ["node_affinity"]]
    assert all(Placement.model_validate(CPU | part) for part in parts)
    assert all(Claim.model_validate(claim) for claim in claims["claims"].values())
    assert (
        Target.model_validate(whole | without_images).requirement("gpu").startswith("stepworks[gpu-image] @ https://")
    )


def test_every_field_and_every_mig_profile_is_described() -> None:
    assert [name for name in (*Placement.model_fields, *Claim.model_fields) if f"`{name}`" not in PAGE] == []
    profiles = {
        f"`{name.replace('+', '.')}` {count}" for table in MIG_PROFILES.values() for name, count in table.items()
    }
    assert [profile for profile in sorted(profiles) if profile not in PAGE] == []
