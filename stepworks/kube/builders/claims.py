"""Claims that a run makes for itself, and that go with it."""

from __future__ import annotations

from stepworks.kube.kinds.manifests import Manifest
from stepworks.kube.runs.belonging import RUN_LABEL, check_run
from stepworks.placement.names import run_object_name
from stepworks.placement.storage import AccessMode

_KIND = "PersistentVolumeClaim"


def build_claim(
    name: str, run: str, *, size: str, access_mode: AccessMode, storage_class: str | None = None
) -> Manifest:
    """Build a PersistentVolumeClaim of a run.

    Args:
        name: What the target calls the claim; for its name, `<name>-<run>`, see `run_object_name`.
        run: The run's id.
        size: How large, `10Gi`.
        access_mode: What the volume allows.
        storage_class: The StorageClass that makes the volume; without it, the cluster's default one.

    Raises:
        ConfigurationError: The name or the run's id is not valid.
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
        "metadata": {"name": run_object_name(_KIND, name, run), "labels": {RUN_LABEL: check_run(run)}},
        "spec": specification,
    }
