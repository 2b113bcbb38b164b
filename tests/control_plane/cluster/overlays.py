"""The overlays of `cluster` for teams of a test's own, as docs/cluster.md has them made: by a copy of the folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stepworks.kube.api.cluster import Cluster, connect
from testbed.bed import Bed
from tests.control_plane.jobs import ROOT
from tests.waiting import wait_for

OVERLAYS = ("small", "a100", "mig")


def copied(folder: Path, overlay: str, namespace: str, gpus: int | None = None) -> Path:
    """Copy an overlay for a team, with its namespace and how many GPUs it may train on; the folder to apply."""
    cluster = folder / "cluster"
    if not cluster.exists():
        shutil.copytree(ROOT / "cluster", cluster)
    made = cluster / "overlays" / namespace
    shutil.copytree(cluster / "overlays" / overlay, made)
    file = made / "kustomization.yaml"
    file.write_text(file.read_text().replace("namespace: team-a", f"namespace: {namespace}"))
    if gpus is not None:
        quota = made / "quota.yaml"
        quota.write_text(quota.read_text().replace('nvidia.com/gpu: "8"', f'nvidia.com/gpu: "{gpus}"'))
    return made


@contextmanager
def team(bed: Bed, folder: Path, namespace: str, *, gpus: int | None = None) -> Iterator[Cluster]:
    """Set up a team's namespace by the overlay a100, and delete it."""
    bed.kubectl("apply", "-k", copied(folder, "a100", namespace, gpus))
    cluster = connect(kubeconfig=bed.kubeconfig, namespace=namespace)
    try:
        wait_for("its quota counts", lambda: "hard" in bed.kubectl("-n", namespace, "get", "quota", "-o", "yaml"))
        yield cluster
    finally:
        bed.kubectl("delete", "namespace", namespace, "--wait=false")
