"""Claims that a run makes for itself, and that go with it.

What a run makes carries its id under the label `stepworks.dev/run`. The exit step deletes by that label, so that
nothing is left whichever step failed, and a retried step knows its own claim from another's.
"""

from __future__ import annotations

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


def find_claims(cluster: Cluster, run: str) -> list[str]:
    """The names of every claim that a run made, sorted.

    Raises:
        ResourceError: The API server refuses.
        ValueError: The run's id is empty, or cannot be a label's value.
    """
    from kubernetes import client

    if not check_label_value(run):
        raise ValueError("the run's id is empty, and would select the claims of every run")
    core = client.CoreV1Api(cluster.client)
    with explained("list", _RESOURCE, cluster.namespace):
        found = core.list_namespaced_persistent_volume_claim(cluster.namespace, label_selector=f"{RUN_LABEL}={run}")
    return sorted(claim.metadata.name for claim in found.items)


def delete_claim(cluster: Cluster, name: str) -> bool:
    """Delete a claim; it goes when the pods that still use it have ended.

    Returns:
        Whether it was there.

    Raises:
        ResourceError: The API server refuses.
    """
    from kubernetes import client

    with explained("delete", _RESOURCE, cluster.namespace):
        try:
            client.CoreV1Api(cluster.client).delete_namespaced_persistent_volume_claim(name, cluster.namespace)
        except client.ApiException as error:
            if error.status != 404:
                raise
            return False
    return True
