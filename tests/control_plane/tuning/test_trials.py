"""Trials of a search that really train, as Jobs on a process node."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import create
from stepworks.kube.api.references import Reference
from stepworks.kube.kinds.rules import CLAIM_BOUND, JOB_COMPLETE
from stepworks.kube.waiting.wait import wait
from stepworks.placement.storage import Mount
from stepworks.training.spec import TrainingSpec
from stepworks.training.workspace import Workspace
from stepworks.tuning.experiment import build_experiment, trial_template
from stepworks.tuning.katib import tune_in_cluster
from stepworks.tuning.spec import tuning_spec
from stepworks.tuning.trial import of_trial, prepare
from stepworks.tuning.trial_job import build_trial
from testbed.bed import Bed
from tests.control_plane.jobs import ROOT, RUN, TARGET
from tests.control_plane.operations.test_run_job_on_a_process_node import claim, folder_of
from tests.control_plane.pods import pods
from tests.control_plane.tuning.katib import Katib, install
from tests.waiting import wait_for

SPEC = tuning_spec(
    space={
        "rate": {"type": "double", "minimum": 0.1, "maximum": 0.5},
        "kind": {"type": "choice", "values": ["a", "b"]},
    },
    objective={"metric": "loss", "goal": "minimize", "best_of": "latest"},
    trials=2,
)
TRAINING = TrainingSpec(
    command=["python", "-u", str(ROOT / "tests/control_plane/tuning/program.py"), "{rate}", "{kind}"]
)


def test_trials_train_in_pods_and_report_what_they_found(process_bed: Bed, process_cluster: Cluster) -> None:
    cluster = process_cluster
    install(process_bed)
    katib = Katib(process_bed, cluster)
    scratch = create(cluster, claim())
    wait(cluster, Reference("v1", "PersistentVolumeClaim", "scratch"), until=CLAIM_BOUND, timeout=30)
    folder = folder_of(cluster, scratch)
    workspace = Workspace(folder / "search")
    prepare(workspace, TRAINING, SPEC.space)
    # The pods find the claim at the path at which this test has it, as those of a step do.
    mount = Mount(claim="scratch", mount_path=str(folder), access_mode="ReadWriteMany")
    manifest = build_trial(
        cluster, "Job", image=TARGET.image("gpu"), placement=TARGET.placement("small"), mounts=[mount], nodes=1,
        workspace=str(workspace.root), parameters=SPEC.space, run=RUN, active_deadline_seconds=120,
    )  # fmt: skip
    experiment = build_experiment(SPEC, trial_template(manifest), name="tune", run=RUN)
    with ThreadPoolExecutor() as pool:
        found = pool.submit(tune_in_cluster, cluster, SPEC, experiment, run=RUN, timeout=180)
        (made,) = wait_for("the Experiment is there", katib.experiments)
        for number, rate in enumerate(("0.2", "0.3")):
            name = katib.start_trial(made, number, rate=rate, kind="b")
            wait(cluster, Reference("batch/v1", "Job", name), until=JOB_COMPLETE, timeout=120)
            (pod,) = [each["metadata"]["name"] for each in pods(cluster) if each["metadata"]["name"].startswith(name)]
            assert katib.collect(name, pod)["loss"] == pytest.approx(abs(float(rate) - 0.3), abs=1e-9)
            assert (of_trial(workspace, name).model / "weights").read_text() == f"{rate} b"
        katib.end_experiment("tune-run-1", "Succeeded", "ExperimentMaxTrialsReached")
        document = found.result(60)
    assert document.best_trial
    assert document.best_trial.parameters == {"rate": 0.3, "kind": "b"}
