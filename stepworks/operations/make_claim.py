"""What the step `make_claim` does, in a cluster and on a laptop."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter, ValidationError

from stepworks.errors import ParameterError
from stepworks.kube.builders.claims import build_claim
from stepworks.kube.runs.adoption import Adoption
from stepworks.kube.runs.belonging import belonging_to
from stepworks.operations.in_cluster import connect_from_step
from stepworks.placement.storage import AccessMode, Size
from stepworks.settings_file import faults
from stepworks.supervisor.client import SupervisorClient


def make_run_claim(name: str, run: str, size: str, access_mode: str, storage_class: str) -> str:
    """Make a claim for a run, or adopt the one that an earlier attempt made.

    On a laptop a folder stands for the claim, and nothing is made.

    Args:
        name: What targets call the claim.
        run: The run's id.
        size: How large, `10Gi`.
        access_mode: What the volume allows.
        storage_class: The StorageClass that makes the volume; empty for the cluster's default one.

    Returns:
        The claim's name.

    Raises:
        ParameterError: The size or the access mode is not valid.
        AlreadyExistsError: A claim of that name is another's.
        WaitTimeoutError: A claim of this run is being deleted, and does not go.
        ClusterError: The API server refuses.
        ConfigurationError: There is no cluster, or the name or the run's id is not valid.
    """
    claim = build_claim(
        name,
        run,
        size=_checked("size", size, Size),
        access_mode=_checked("access_mode", access_mode, AccessMode),
        storage_class=storage_class or None,
    )
    full_name = str(claim["metadata"]["name"])
    if SupervisorClient.from_environment():
        print(f"A folder stands for the claim {full_name} on this machine.")  # noqa: T201
    else:
        cluster = connect_from_step("a claim")
        made = belonging_to(cluster, claim, run)
        Adoption(cluster, made, say=print).make_or_adopt()
    return full_name


def _checked(name: str, value: str, kind: Any) -> Any:
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise ParameterError(
            f"The parameter {name} is wrong",
            received=repr(value),
            expected=faults(error)[0][1],
        ) from error
