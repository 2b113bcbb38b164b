"""A placement as a step's parameter comes back as it was, whatever Kubeflow Pipelines does to it on the way."""

import json
from pathlib import Path
from typing import Any

import pytest

from stepworks.errors import ParameterError
from stepworks.placement.placement import Placement
from stepworks.placement.pod_placement import PodPlacement
from stepworks.placement.storage import Mount
from stepworks.placement.target import read_targets

TARGETS = read_targets(Path(__file__).parents[3] / "targets")
MOUNT = Mount(claim="scratch", mount_path="/mnt/scratch", access_mode="ReadWriteMany")


def with_floats(value: Any) -> Any:
    """What a run on a laptop makes of a parameter."""
    return json.loads(json.dumps(value), parse_int=float)


@pytest.mark.parametrize(
    "placement", [each for target in TARGETS.values() for each in target.placements.values()], ids=lambda each: ""
)
def test_every_shipped_placement_comes_back(placement: Placement) -> None:
    given = PodPlacement(
        role="large", claims=("scratch",), target="a100", placement=placement, mounts=(MOUNT,), run_mounts=(MOUNT,)
    )
    assert PodPlacement.from_json(with_floats(given.to_json())) == given


def test_a_claim_that_is_made_for_the_run_has_the_run_in_its_name() -> None:
    other = Mount(claim="data", mount_path="/mnt/data", access_mode="ReadOnlyMany", read_only=True)
    given = PodPlacement(role="large", mounts=(other,), run_mounts=(MOUNT,))
    assert [each.claim for each in given.mounts_of("r-1")] == ["data", "scratch-r-1"]
    assert given.mounts_of("r-1")[1].mount_path == "/mnt/scratch"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({}, "role: Field required"),
        ({"role": "large", "placement": {"cpu": "1"}}, "placement.cpu"),
        ({"rolle": "large"}, "did you mean role?"),
    ],
)
def test_something_else_is_refused(value: dict[str, Any], told: str) -> None:
    with pytest.raises(ParameterError, match="The parameter placement is wrong") as raised:
        PodPlacement.from_json(value)
    assert told in raised.value.received
