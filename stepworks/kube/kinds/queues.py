"""What Kueue does with an object: its queue holds the object back by suspending it."""

from __future__ import annotations

from stepworks.kube.kinds.manifests import Manifest, labels_of
from stepworks.placement.placement import QUEUE_LABEL


def queue_of(manifest: Manifest) -> str:
    """The queue that an object is in; empty if it is in none."""
    return labels_of(manifest).get(QUEUE_LABEL) or ""


def held_by(manifest: Manifest) -> str:
    """The queue that holds an object back; empty if none does."""
    spec = manifest.get("spec") or {}
    suspended = spec.get("suspend") or (spec.get("runPolicy") or {}).get("suspend")
    return queue_of(manifest) if suspended else ""
