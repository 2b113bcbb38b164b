"""What the step `clean_up_run` does, in a cluster and on a laptop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from stepworks.errors import AccessDeniedError, RunError, StepworksError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import delete
from stepworks.kube.api.permissions import is_denied
from stepworks.kube.api.references import reference_to
from stepworks.kube.kinds.manifests import Manifest
from stepworks.kube.kinds.table import KINDS, Kind
from stepworks.kube.runs.belonging import check_run, find_of_run
from stepworks.operations.in_cluster import cluster_of_step
from stepworks.operations.run_folders import delete_folder, run_folder


def clean_up(run: str, folders: Sequence[str], *, objects: bool) -> None:
    """Delete what a run made in the cluster, and its folders, and print what was deleted.

    What cannot be deleted, or may not be listed, does not keep the rest: everything is tried, and the failures are
    told together. A kind that may be neither listed nor created is only told: no step of the run made one. Objects
    that are to outlive their run stay; see `stepworks.kube.runs.belonging.KEEP_LABEL`.

    Args:
        run: The run's id.
        folders: Where the run has a folder that is named by its id, in claims that stay.
        objects: Whether the run made objects in a cluster: claims, Jobs and what else steps make. A local run did so
            only if a kubeconfig was named for it.

    Raises:
        ClusterError: The API server refuses.
        ResourceError: A folder cannot be deleted.
        RunError: Several things cannot be deleted.
        ConfigurationError: There is no cluster, or the run's id cannot be a label's value.
    """
    deleted: list[str] = []
    failures: list[StepworksError] = []
    for parent in folders:
        with _noted(failures):
            if delete_folder(folder := run_folder(parent, run)):
                deleted.append(f"the folder {folder}")
    if objects:
        with _noted(failures):
            check_run(run)
            if cluster := cluster_of_step():
                _delete_objects(cluster, run, deleted, failures)
    if deleted or not failures:
        print(f"Deleted {', '.join(deleted)}." if deleted else "There was nothing to delete.")  # noqa: T201
    if failures:
        raise failures[0] if len(failures) == 1 else _together(failures)


def _delete_objects(cluster: Cluster, run: str, deleted: list[str], failures: list[StepworksError]) -> None:
    for each in (known for known in KINDS if known.made_by_runs):
        with _noted(failures):
            for manifest in _found(cluster, each, run):
                reference = reference_to(manifest)
                with _noted(failures):
                    if delete(cluster, reference, uid=str(manifest["metadata"]["uid"])):
                        deleted.append(f"the {reference}")


def _found(cluster: Cluster, kind: Kind, run: str) -> list[Manifest]:
    """The objects of a kind that the run made.

    The exit step has the ServiceAccount of the other steps; a kind that it may not create, they have not made.

    Raises:
        AccessDeniedError: They may not be listed, and there may be some.
        ClusterError: The API server refuses, fails or does not answer.
    """
    try:
        return find_of_run(cluster, kind.api_version, kind.kind, run)
    except AccessDeniedError:
        if not is_denied(cluster, "create", kind.api_version, kind.kind):
            raise
    print(f"Not looked for: objects of the kind {kind.kind}, which the run may neither list nor create.")  # noqa: T201
    return []


@contextmanager
def _noted(failures: list[StepworksError]) -> Iterator[None]:
    """Note an error instead of raising it, so that what comes next is still tried."""
    try:
        yield
    except StepworksError as error:
        failures.append(error)


def _together(failures: Sequence[StepworksError]) -> RunError:
    return RunError(
        f"{len(failures)} things of the run are not deleted",
        received="; ".join(f"{each.problem} ({each.received})" if each.received else each.problem for each in failures),
        what_to_do=" ".join(dict.fromkeys(each.what_to_do for each in failures)),
    )
