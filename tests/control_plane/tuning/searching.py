"""A small search whose trials really train: by a command that reports how far a number is from 0.3."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import list_objects
from stepworks.kube.api.references import Reference, Selection
from stepworks.kube.kinds.rules import JOB_COMPLETE, TRAIN_JOB_COMPLETE, TRAINING_OPERATOR_JOB_SUCCEEDED
from stepworks.kube.training_job import make_runtime
from stepworks.kube.waiting.wait import wait
from stepworks.placement.storage import Mount
from stepworks.report.documents import TuningDocument
from stepworks.training.spec import TrainingSpec
from stepworks.training.workspace import Workspace
from stepworks.tuning.experiment import TrialKind, build_experiment, trial_template
from stepworks.tuning.katib import tune_in_cluster
from stepworks.tuning.spec import tuning_spec
from stepworks.tuning.trial import of_trial, prepare
from stepworks.tuning.trial_job import build_trial
from testbed.bed import Bed
from tests.control_plane.jobs import ROOT, RUN, TARGET
from tests.control_plane.kube.workloads import allow_steps, connect_as, once_allowed
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
ENDS = {
    "Job": ("batch/v1", JOB_COMPLETE, ""),
    "TrainJob": ("trainer.kubeflow.org/v1alpha1", TRAIN_JOB_COMPLETE, "-node-0-0-"),
    "PyTorchJob": ("kubeflow.org/v1", TRAINING_OPERATOR_JOB_SUCCEEDED, "-master-0"),
}
"""Of each kind its version, when it has succeeded, and what the name of the pod with rank 0 has after the job's."""


def as_step(cluster: Cluster, folder: Path) -> Cluster:
    """Connect with the rights that the step has."""
    runner = connect_as(cluster, "runner", folder)
    allow_steps(cluster, "runner", "tune")
    once_allowed(lambda: list_objects(runner, Selection("v1", "Pod")))
    return runner


def pods_of(cluster: Cluster, trial: str, count: int) -> list[str]:
    """The names of a trial's pods, once all are there. The training operator deletes workers when the job is done."""
    names = [each["metadata"]["name"] for each in pods(cluster)]
    found = [each for each in names if each.startswith(trial)]
    return found if len(found) == count else []


def search(
    bed: Bed, cluster: Cluster, runner: Cluster, claim: str, folder: Path, *, kind: TrialKind, nodes: int
) -> TuningDocument:
    """Search to the end, with each trial's parameters chosen here, and see that each really trained.

    Args:
        bed: The test bed.
        cluster: A namespace on it.
        runner: The same with the rights of the step.
        claim: A claim in it.
        folder: Where that is on this machine, and so in the pods.
        kind: What each trial is.
        nodes: How many pods each has.
    """
    install(bed)
    katib = Katib(bed, cluster)
    workspace = Workspace(folder / "search")
    prepare(workspace, TRAINING, SPEC.space)
    trial = build_trial(
        runner,
        kind,
        image=TARGET.image("gpu"),
        placement=TARGET.placement("small"),
        mounts=[Mount(claim=claim, mount_path=str(folder), access_mode="ReadWriteMany")],
        nodes=nodes,
        workspace=str(workspace.root),
        parameters=SPEC.space,
        name="tune",
        run=RUN,
        active_deadline_seconds=120,
    )
    if trial.runtime:
        make_runtime(runner, trial.runtime, trial.manifest, RUN, trial.beyond)
    experiment = build_experiment(SPEC, trial_template(trial.manifest), name="tune", run=RUN)
    version, complete, rank_0 = ENDS[kind]
    with ThreadPoolExecutor() as pool:
        found = pool.submit(tune_in_cluster, runner, SPEC, experiment, run=RUN, timeout=300)
        (made,) = wait_for("the Experiment is there", katib.experiments)
        for number, rate in enumerate(("0.2", "0.3")):
            name = katib.start_trial(made, number, rate=rate, kind="b")
            made_pods = wait_for("its pods are there", partial(pods_of, cluster, name, nodes))
            (first,) = [each for each in made_pods if each.startswith(name + rank_0)]
            wait(cluster, Reference(version, kind, name), until=complete, timeout=120)
            assert katib.collect(name, first)["loss"] == pytest.approx(abs(float(rate) - 0.3), abs=1e-9)
            assert (of_trial(workspace, name).model / "weights").read_text() == f"{rate} b"
        katib.end_experiment("tune-run-1", "Succeeded", "ExperimentMaxTrialsReached")
        return found.result(60)
