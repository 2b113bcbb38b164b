"""What the steps `make_claim` and `clean_up_run` do, in a cluster and on a laptop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pydantic import TypeAdapter, ValidationError

from stepworks.errors import ParameterError, ResourceError, StepworksError
from stepworks.kube.cluster import connect
from stepworks.kube.run_claims import build_claim, delete_claim, delete_folder, ensure_claim, find_claims
from stepworks.placement.storage import AccessMode, Size
from stepworks.supervisor.client import SupervisorClient, local_path


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
        ResourceError: A claim of that name is another's, or the API server refuses.
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


def clean_up(run: str, folders: Sequence[str], *, claims: bool) -> None:
    """Delete the claims and the folders of a run, and print what was deleted.

    What cannot be deleted does not keep the rest: everything is tried, and the failures are told together.

    Args:
        run: The run's id.
        folders: The run's own folders in claims that stay; each ends with the run's id.
        claims: Whether the run made claims. On a laptop it made none.

    Raises:
        ResourceError: The API server refuses, or a folder cannot be deleted.
        ConfigurationError: There is no cluster.
    """
    deleted: list[str] = []
    failures: list[StepworksError] = []
    for folder in map(local_path, folders):
        with _noted(failures):
            if delete_folder(folder, run):
                deleted.append(f"the folder {folder}")
    if claims and not SupervisorClient.from_environment():
        with _noted(failures):
            cluster = connect()
            for name in find_claims(cluster, run):
                with _noted(failures):
                    if delete_claim(cluster, name):
                        deleted.append(f"the claim {name}")
    if deleted or not failures:
        print(f"Deleted {', '.join(deleted)}." if deleted else "There was nothing to delete.")  # noqa: T201
    if failures:
        raise failures[0] if len(failures) == 1 else _together(failures)


@contextmanager
def _noted(failures: list[StepworksError]) -> Iterator[None]:
    """Note an error instead of raising it, so that what comes next is still tried."""
    try:
        yield
    except StepworksError as error:
        failures.append(error)


def _together(failures: Sequence[StepworksError]) -> ResourceError:
    return ResourceError(
        f"{len(failures)} things of the run are not deleted",
        received="; ".join(f"{each.problem} ({each.received})" if each.received else each.problem for each in failures),
        what_to_do=" ".join(dict.fromkeys(each.what_to_do for each in failures)),
    )


def _checked(name: str, value: str, kind: Any) -> Any:
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise ParameterError(
            f"The parameter {name} is wrong",
            received=repr(value),
            expected=error.errors()[0]["msg"].removeprefix("Value error, "),
        ) from error
