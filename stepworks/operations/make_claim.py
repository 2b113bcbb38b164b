"""What the step `make_claim` does, in a cluster and on a laptop."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter, ValidationError

from stepworks.errors import ParameterError
from stepworks.kube.claims import build_claim, ensure_claim
from stepworks.kube.cluster import connect
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
        ParameterError: The size or the access mode is none.
        AlreadyExistsError: A claim of that name is another's, or is being deleted.
        ClusterError: The API server refuses.
        ConfigurationError: There is no cluster.
    """
    claim = build_claim(
        name,
        run,
        size=_checked("size", size, Size),
        access_mode=_checked("access_mode", access_mode, AccessMode),
        storage_class=storage_class or None,
    )
    made = str(claim["metadata"]["name"])
    if SupervisorClient.from_environment():
        print(f"A folder stands for the claim {made} on this machine.")  # noqa: T201
        return made
    cluster = connect()
    word = "Made" if ensure_claim(cluster, claim) else "Adopted"
    print(f"{word} the claim {made}, {size} {access_mode}, in the namespace {cluster.namespace}.")  # noqa: T201
    return made


def _checked(name: str, value: str, kind: Any) -> Any:
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise ParameterError(
            f"The parameter {name} is wrong",
            received=repr(value),
            expected=faults(error)[0][1],
        ) from error
