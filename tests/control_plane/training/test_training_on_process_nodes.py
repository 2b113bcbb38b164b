"""Training jobs that really train, on nodes whose pods are processes of this machine; the GPUs are only counted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from stepworks.errors import TrainingError, WorkloadFailedError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import create, delete, get
from stepworks.kube.api.references import Reference
from stepworks.kube.builders.workload import TrainingJobSpec
from stepworks.kube.kinds.manifests import Manifest
from stepworks.kube.training_job import TrainingJobKind, run_training_job
from stepworks.placement.storage import Mount
from stepworks.training import outcome as outcomes
from stepworks.training.checkpoint.store import committed_step
from stepworks.training.cluster import TrainingJob, train_on_cluster
from stepworks.training.metrics import read_metrics
from stepworks.training.spec import CheckpointSettings, LoopSettings, ParallelSettings, TrainingSpec
from stepworks.training.workspace import Workspace
from testbed.bed import Bed
from tests import pod_namespaces
from tests.control_plane.jobs import ROOT, TARGET
from tests.control_plane.pods import holding, pods
from tests.control_plane.training.conftest import claim
from tests.waiting import wait_for

pytestmark = pytest.mark.skipif(
    pod_namespaces.MISSING,
    reason="pods find each other by their names as root on Linux only, where each has a network of its own",
)
SECONDS = 300.0
"""How long anything is waited for: far longer than it takes."""
IMAGE = "registry.example.com/stepworks/gpu:1"
STEPS = 48
KILL_ONE_RANK = """
import os, pathlib, signal
for process in pathlib.Path("/proc").glob("[0-9]*"):
    if b"LOCAL_RANK=1" in (process / "environ").read_bytes().split(bytes(1)):
        os.kill(int(process.name), signal.SIGKILL)
"""


class Run:
    """A run whose step is this process, and its pods those of the cluster.

    The pods mount the claim where its folder is on this machine, so that step and pods have it at the same path.
    """

    def __init__(self, bed: Bed, cluster: Cluster, folder: Path, kind: TrainingJobKind) -> None:
        self.bed, self.cluster, self.kind = bed, cluster, kind
        self.said: list[str] = []
        bed.kubectl("apply", "-f", ROOT / "cluster" / "cluster-wide" / "priority-classes.yaml")
        mount = claim(bed, cluster)
        self.workspace = Workspace(mount / "run-1")
        self.data = folder / "samples.json"
        self.data.write_text(json.dumps({"samples": 96, "seed": 1}))
        self.pods = self._pods(mount)

    def _pods(self, mount: Path) -> TrainingJobSpec:
        """Two nodes of two GPUs, and so of two processes; the node has four of them."""
        placement = TARGET.placement("training")
        assert placement.accelerator is not None
        assert placement.retry is not None
        small = placement.cpu.model_copy(update={"request": "1", "limit": "1"})
        memory = placement.memory.model_copy(update={"request": "4Gi", "limit": "4Gi"})
        more = {
            "accelerator": placement.accelerator.model_copy(update={"count": 2}),
            "retry": placement.retry.model_copy(update={"count": 1}),
            "cpu": small,
            "memory": memory,
            "shared_memory": "512Mi",
            "timeout_seconds": None,
            "priority_class": "training",
        }
        return TrainingJobSpec(
            image=IMAGE,
            placement=placement.model_copy(update=more),
            nodes=2,
            mounts=(Mount(claim="runs", mount_path=str(mount), access_mode="ReadWriteMany"),),
            environment={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        )

    def train(self, data: str = "tests.control_plane.training.slow:read_samples") -> Manifest:
        spec = TrainingSpec(
            model="tests.training.small:build_model",
            data=data,
            inputs={"train": str(self.data)},
            loop=LoopSettings(epochs=100, steps=STEPS, batch_size=8, patience=None),
            parallel=ParallelSettings(device="cpu", timeout_seconds=60),
            checkpoints=CheckpointSettings(every_steps=4),
            log_every_steps=1,
            grace_seconds=10,
        )
        job = TrainingJob(self.cluster, self.kind, "fit", "run-1", self.pods, scheduling_timeout=SECONDS)
        return train_on_cluster(spec, self.workspace, job, say=self.said.append)

    @contextmanager
    def training(self) -> Iterator[Future[Manifest]]:
        """Train meanwhile; on an error the job is deleted, which ends the step."""
        with ThreadPoolExecutor(1, thread_name_prefix="step") as executor:
            step = executor.submit(self.train)
            try:
                yield step
            except BaseException:
                self.bed.kubectl("delete", self.kind, "--all", "-n", self.cluster.namespace)
                raise

    def wait_for_commit(self, step: int) -> None:
        """Wait until there is a checkpoint of that step, or of a later one."""
        checkpoints = self.workspace.checkpoints
        wait_for(f"step {step} is committed", lambda: (committed_step(checkpoints) or 0) >= step, SECONDS)

    def resumed_from(self) -> list[int]:
        """From which steps it resumed."""
        lines = map(json.loads, self.workspace.metrics.read_text().splitlines())
        return [line["step"] for line in lines if line["kind"] == "resumed"]

    def check_completed(self, step: Future[Manifest]) -> None:
        step.result(SECONDS)
        outcome = outcomes.read(self.workspace)
        assert outcome is not None
        assert (outcome.state, outcome.step) == ("completed", STEPS)
        assert any(self.workspace.model.iterdir())
        steps = [line["step"] for line in read_metrics(self.workspace.metrics) if line["kind"] == "step"]
        assert steps == list(range(1, STEPS + 1))

    def kill_one_rank(self, pod: str) -> None:
        self.bed.kubectl("exec", "-n", self.cluster.namespace, pod, "--", "python3", "-c", KILL_ONE_RANK)

    def running(self) -> list[str]:
        """The names of the training pods that run."""
        running = (each for each in pods(self.cluster, "Running") if not each["metadata"].get("deletionTimestamp"))
        return sorted(name for each in running if (name := str(each["metadata"]["name"])).startswith("fit-"))


def preempt(run: Run) -> None:
    """Start a pod of the class inference, which takes two of the four GPUs, and let it go again."""
    placement = TARGET.placement("training")
    resources = {"limits": {"nvidia.com/gpu": "2"}}
    container = {"name": "server", "image": IMAGE, "command": ["sleep", "600"], "resources": resources}
    tolerations: list[dict[str, Any]] = [{"operator": "Exists"}]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "inference"},
        "spec": {
            "priorityClassName": "inference",
            "nodeSelector": dict(placement.node_selector),
            "tolerations": tolerations,
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
        },
    }
    create(run.cluster, pod)
    reference = Reference("v1", "Pod", "inference")
    wait_for(
        "the inference pod runs", lambda: get(run.cluster, reference).get("status", {}).get("phase") == "Running", 120
    )
    wait_for("the step tells of it", lambda: [line for line in run.said if "was preempted" in line], SECONDS)
    delete(run.cluster, reference)


@pytest.mark.parametrize("kind", ["TrainJob", "PyTorchJob"])
def test_it_trains_is_killed_is_preempted_and_resumes(
    training_bed: Bed, training_cluster: Cluster, tmp_path: Path, kind: TrainingJobKind
) -> None:
    run = Run(training_bed, training_cluster, tmp_path, kind)
    with run.training() as step:
        run.wait_for_commit(4)
        run.kill_one_rank(run.running()[1])
        run.wait_for_commit(16)
        preempt(run)
        run.check_completed(step)
    resumed = run.resumed_from()
    assert len(resumed) >= 2
    assert resumed[0] >= 4
    assert resumed[-1] >= 16


def test_an_operator_that_sees_nothing_happen_ends_a_job_at_its_deadline(
    training_bed: Bed, training_cluster: Cluster, tmp_path: Path
) -> None:
    run = Run(training_bed, training_cluster, tmp_path, "PyTorchJob")
    command = ("sleep", "600")
    retry = {"placement": run.pods.placement.model_copy(update={"retry": None})}
    spec = run.pods.model_copy(update={**retry, "command": command, "active_deadline_seconds": 5})
    with pytest.raises(WorkloadFailedError) as raised:
        run_training_job(training_cluster, spec, kind="PyTorchJob", name="fit", run="run-1", scheduling_timeout=SECONDS)
    assert "because it was active longer than specified deadline" in " ".join(str(raised.value).split())


def test_a_mistake_in_the_training_code_is_not_tried_again(
    training_bed: Bed, training_cluster: Cluster, tmp_path: Path
) -> None:
    run = Run(training_bed, training_cluster, tmp_path, "TrainJob")
    for _ in range(2):  # the step, and its retry, which makes nothing
        with pytest.raises(TrainingError, match="The training code failed") as raised:
            run.train(data="tests.control_plane.training.slow:read_nothing")
        assert "there is nothing to read" in raised.value.received
    wait_for("nothing is held", lambda: not holding(training_cluster))
