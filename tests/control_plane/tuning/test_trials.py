"""Trials of a search that really train, as Jobs on a process node."""

from __future__ import annotations

from pathlib import Path

from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import create
from stepworks.kube.api.references import Reference
from stepworks.kube.kinds.rules import CLAIM_BOUND
from stepworks.kube.waiting.wait import wait
from testbed.bed import Bed
from tests.control_plane.operations.test_run_job_on_a_process_node import claim, folder_of
from tests.control_plane.tuning.searching import as_step, search


def test_trials_train_in_pods_and_report_what_they_found(
    process_bed: Bed, process_cluster: Cluster, tmp_path: Path
) -> None:
    scratch = create(process_cluster, claim())
    wait(process_cluster, Reference("v1", "PersistentVolumeClaim", "scratch"), until=CLAIM_BOUND, timeout=30)
    folder = folder_of(process_cluster, scratch)
    runner = as_step(process_cluster, tmp_path)
    document = search(process_bed, process_cluster, runner, "scratch", folder, kind="Job", nodes=1)
    assert document.best_trial
    assert document.best_trial.parameters == {"rate": 0.3, "kind": "b"}
