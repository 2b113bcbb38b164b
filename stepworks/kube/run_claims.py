"""Claims that a run makes for itself, and that go with it.

What a run makes carries its id under the label `stepworks.dev/run`. The exit step deletes by that label, so that
nothing is left whichever step failed, and a retried step knows its own claim from another's.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from stepworks.errors import ResourceError
from stepworks.kube.cluster import Cluster, explained
from stepworks.placement.names import check_label_value
from stepworks.placement.storage import AccessMode

RUN_LABEL = "stepworks.dev/run"
_RESOURCE = "persistentvolumeclaims"


def build_claim(
    name: str, run: str, *, size: str, access_mode: AccessMode, storage_class: str | None = None
) -> dict[str, Any]:
    """Build a PersistentVolumeClaim of a run.

    Args:
        name: What the target calls the claim; the claim is named `<name>-<run>`.
        run: The run's id.
        size: How large, `10Gi`.
        access_mode: What the volume allows.
        storage_class: The StorageClass that makes the volume; without it, the cluster's default one.

    Raises:
        ValueError: The run's id cannot be a label's value.
    """
    specification: dict[str, Any] = {
        "accessModes": [access_mode],
        "resources": {"requests": {"storage": size}},
    }
    if storage_class:  # an empty name would ask for a volume that somebody made by hand
        specification["storageClassName"] = storage_class
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": f"{name}-{run}", "labels": {RUN_LABEL: check_label_value(run)}},
        "spec": specification,
    }


def ensure_claim(cluster: Cluster, claim: dict[str, Any]) -> bool:
    """Make a claim of a run, or adopt the one that an earlier attempt made.

    Args:
        cluster: Where.
        claim: As `build_claim` builds it.

    Returns:
        Whether it was made; false if it was adopted.

    Raises:
        ResourceError: A claim of that name is of another run or is being deleted, or the API server refuses.
    """
    from kubernetes import client

    core = client.CoreV1Api(cluster.client)
    name, run = claim["metadata"]["name"], claim["metadata"]["labels"][RUN_LABEL]
    with explained("create", _RESOURCE, cluster.namespace):
        try:
            core.create_namespaced_persistent_volume_claim(cluster.namespace, claim)
        except client.ApiException as error:
            if error.status != 409:
                raise
        else:
            return True
    with explained("get", _RESOURCE, cluster.namespace):
        present = core.read_namespaced_persistent_volume_claim(name, cluster.namespace)
    owner = (present.metadata.labels or {}).get(RUN_LABEL)
    if owner != run or present.metadata.deletion_timestamp:
        raise ResourceError(
            f"The claim {name} is there already",
            received=f"of the run {owner}" if owner != run else "of this run, and being deleted",
            expected=f"no claim of that name, or one with the label {RUN_LABEL}={run}",
            what_to_do=f"See whose it is with: kubectl -n {cluster.namespace} describe pvc {name}",
        )
    return False


def delete_claims(cluster: Cluster, run: str) -> list[str]:
    """Delete every claim that a run made; return their names. One that is gone already is not an error.

    A claim that a pod still uses goes when that pod has ended.

    Raises:
        ResourceError: The API server refuses.
        ValueError: The run's id cannot be a label's value.
    """
    from kubernetes import client

    if not check_label_value(run):
        raise ValueError("the run's id is empty, and would select the claims of every run")
    core = client.CoreV1Api(cluster.client)
    with explained("list", _RESOURCE, cluster.namespace):
        found = core.list_namespaced_persistent_volume_claim(cluster.namespace, label_selector=f"{RUN_LABEL}={run}")
    names = sorted(claim.metadata.name for claim in found.items)
    deleted = []
    for name in names:
        with explained("delete", _RESOURCE, cluster.namespace):
            try:
                core.delete_namespaced_persistent_volume_claim(name, cluster.namespace)
            except client.ApiException as error:
                if error.status != 404:
                    raise
            else:
                deleted.append(name)
    return deleted


def delete_folders(folders: Iterable[Path], run: str) -> list[Path]:
    """Delete a run's own folders in claims that stay; return those that were there.

    Args:
        folders: The folders; each is named by the run's id, so that nothing else can be deleted by mistake.
        run: The run's id.

    Raises:
        ResourceError: A folder is not named by the run's id, or cannot be deleted.
    """
    deleted = []
    for folder in folders:
        if folder.name != run or not run:
            raise ResourceError(
                f"The folder {folder} is not the run's own",
                expected=f"a folder with the name of the run, {run}",
                what_to_do="Give clean_up_run the folders that claim_path gives within run_claims.",
            )
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ResourceError(
                f"The folder {folder} cannot be deleted",
                received=f"{type(error).__name__}: {error.strerror}",
                what_to_do="Give the run's user the right to write to the claim, and delete the folder by hand.",
            ) from error
        deleted.append(folder)
    return deleted
