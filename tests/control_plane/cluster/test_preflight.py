"""A namespace that an overlay has set up can run the pipelines that were compiled for its target."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import create, list_objects
from stepworks.kube.api.references import Selection
from stepworks.kube.preflight.report import State
from stepworks.kubeflow.ir.read import read_ir
from stepworks.kubeflow.needs import needs_of
from stepworks.preflight.step import check
from testbed.bed import Bed
from tests.control_plane.cluster.overlays import team
from tests.control_plane.cluster.restricted import ACCOUNT
from tests.control_plane.jobs import ROOT
from tests.control_plane.kube.workloads import connect_as
from tests.waiting import wait_for

COMPILED = sorted((ROOT / "compiled").glob("*/*/a100.yaml"))


def make_volumes(cluster: Cluster) -> None:
    """Make a volume for each claim of a namespace, as a provisioner does."""
    for claim in list_objects(cluster, Selection("v1", "PersistentVolumeClaim")):
        name, spec = claim["metadata"]["name"], claim["spec"]
        volume = {
            "storageClassName": spec["storageClassName"],
            "accessModes": spec["accessModes"],
            "capacity": spec["resources"]["requests"],
            "claimRef": {"namespace": cluster.namespace, "name": name},
            "hostPath": {"path": "/nowhere"},
        }
        metadata = {"name": f"{cluster.namespace}-{name}"}
        create(cluster, {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": metadata, "spec": volume})


@pytest.mark.parametrize("path", COMPILED, ids=lambda path: path.parts[-3])
def test_all_is_fine_where_the_overlay_was_applied(team_bed: Bed, tmp_path: Path, path: Path) -> None:
    needs = needs_of(read_ir(path))
    with team(team_bed, tmp_path, path.parts[-3].replace("_", "-")) as cluster:
        assert {each.topic for each in check(cluster, needs).of(State.WAITS)} == {"claim"}  # nobody makes volumes here
        make_volumes(cluster)
        wait_for("the claims are bound", lambda: not check(cluster, needs).of(State.WAITS))
        found = check(cluster, needs)
        assert found.is_fine, found.of(State.MISSING, State.UNKNOWN)
        # The step itself sees less: not the pods of others, and it may make none.
        step = replace(connect_as(cluster, ACCOUNT, tmp_path), discovered={})
        seen = check(step, needs, service_account=ACCOUNT, as_itself=True)
    assert seen.can_run, seen.of(State.MISSING)
    assert {each.topic for each in seen.of(State.UNKNOWN)} <= {"room", "admission"}, seen.of(State.UNKNOWN)
    assert {each.topic for each in seen.of(State.FINE)} >= {"nodes", "quota", "claim"}
