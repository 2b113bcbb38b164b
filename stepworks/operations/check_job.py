"""What can be known to be wrong with a step `run_job` when its pipeline is built."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from stepworks.known import Later
from stepworks.kube.builders.job import JobSpec, build_job, job_spec
from stepworks.operations.in_cluster import TARGET_VARIABLE, resolve_placement
from stepworks.placement.placement import Placement
from stepworks.placement.pod_placement import PodPlacement

_LATER = "known-later"
"""In the place of a name, an image or a run's id that only a run knows."""
_ANYWHERE = {"cpu": {"request": "1", "limit": "1"}, "memory": {"request": "1Gi", "limit": "1Gi"}}


def check_job(known: Mapping[str, Any]) -> dict[str, str]:
    """See that what is known of a step `run_job` when its pipeline is built makes a Job.

    Args:
        known: The step's parameters that are known then, with their defaults.

    Returns:
        Nothing: a Job names no code of Python.

    Raises:
        ConfigurationError: A value is wrong; or a local run has named a target, and its pods cannot be placed there.
    """
    given = {name: _filled(known[name]) for name in JobSpec.model_fields if name in known and name != "placement"}
    placed = PodPlacement.from_json(known["placement"]) if "placement" in known else None
    placement = placed and (placed.placement or (resolve_placement(placed) if TARGET_VARIABLE in os.environ else None))
    spec = job_spec(**{"image": _LATER, **given, "placement": placement or Placement.model_validate(_ANYWHERE)})
    build_job(spec, name=known.get("name", _LATER), run=_LATER)
    return {}


def _filled(value: Any) -> Any:
    """A value with a text in the place of what is known later; a number in a list is left out."""
    if isinstance(value, Later):
        return _LATER
    if isinstance(value, Mapping):
        return {key: _filled(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_filled(each) for each in value if not isinstance(each, Later) or each.type.upper() == "STRING"]
    return value
