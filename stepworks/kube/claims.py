"""Claims that a run makes for itself, and that go with it."""

from __future__ import annotations

from stepworks.errors import AlreadyExistsError
from stepworks.kube.cluster import Cluster
from stepworks.kube.objects import create, find
from stepworks.kube.references import Manifest, reference_to
from stepworks.kube.runs import RUN_LABEL
from stepworks.placement.names import check_label_value
from stepworks.placement.storage import AccessMode

_KIND = "PersistentVolumeClaim"


def build_claim(
    name: str, run: str, *, size: str, access_mode: AccessMode, storage_class: str | None = None
) -> Manifest:
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
    specification: Manifest = {
        "accessModes": [access_mode],
        "resources": {"requests": {"storage": size}},
    }
    if storage_class:  # an empty name would ask for a volume that somebody made by hand
        specification["storageClassName"] = storage_class
    return {
        "apiVersion": "v1",
        "kind": _KIND,
        "metadata": {"name": f"{name}-{run}", "labels": {RUN_LABEL: check_label_value(run)}},
        "spec": specification,
    }


def ensure_claim(cluster: Cluster, claim: Manifest) -> bool:
    """Make a claim of a run, or adopt the one that an earlier attempt made.

    Args:
        cluster: Where.
        claim: As `build_claim` builds it.

    Returns:
        Whether it was made; false if it was adopted.

    Raises:
        AlreadyExistsError: A claim of that name is of another run, or is being deleted.
        ClusterError: The API server refuses.
    """
    try:
        create(cluster, claim)
    except AlreadyExistsError:
        present = find(cluster, reference_to(claim))
        if present is None:  # it went in the meantime
            create(cluster, claim)
            return True
        _refuse_unless_ours(present["metadata"], claim["metadata"], cluster.namespace)
        return False
    return True


def _refuse_unless_ours(present: Manifest, wanted: Manifest, namespace: str) -> None:
    name, run = wanted["name"], wanted["labels"][RUN_LABEL]
    owner = (present.get("labels") or {}).get(RUN_LABEL, "")
    if owner != run or present.get("deletionTimestamp"):
        raise AlreadyExistsError(
            f"The claim {name} is there already",
            received=f"of the run {owner}" if owner != run else "of this run, and being deleted",
            expected=f"no claim of that name, or one with the label {RUN_LABEL}={run}",
            what_to_do=f"See whose it is with: kubectl -n {namespace} describe pvc {name}",
        )
