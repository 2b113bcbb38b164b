"""Trials of a search that train on two nodes, as TrainJobs and PyTorchJobs of the real controllers."""

from __future__ import annotations

from pathlib import Path

import pytest

from stepworks.kube.api.cluster import Cluster
from stepworks.tuning.experiment import TrialKind
from testbed.bed import Bed
from tests import pod_namespaces
from tests.control_plane.training.conftest import claim
from tests.control_plane.tuning.searching import as_step, search

pytestmark = pytest.mark.skipif(
    pod_namespaces.MISSING,
    reason="pods find each other by their names as root on Linux only, where each has a network of its own",
)


@pytest.mark.parametrize("kind", ["TrainJob", "PyTorchJob"])
def test_trials_train_on_two_nodes(
    training_bed: Bed, training_cluster: Cluster, tmp_path: Path, kind: TrialKind
) -> None:
    folder = claim(training_bed, training_cluster)
    runner = as_step(training_cluster, tmp_path)
    document = search(training_bed, training_cluster, runner, "runs", folder, kind=kind, nodes=2)
    assert document.best_trial
    assert document.best_trial.parameters == {"rate": 0.3, "kind": "b"}
