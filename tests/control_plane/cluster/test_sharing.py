"""Teams that share GPUs: what a quota refuses, and who takes whose place."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stepworks.errors import WorkloadFailedError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import create, get
from stepworks.kube.api.references import Reference
from stepworks.kube.builders.job import JobSpec
from stepworks.kube.kinds.manifests import Manifest
from stepworks.operations.run_job import run_job
from testbed.bed import Bed
from tests.control_plane.cluster.overlays import team
from tests.control_plane.jobs import SECONDS, TARGET, played
from tests.control_plane.kube.workloads import connect_as
from tests.control_plane.pods import let_succeed, pods, running
from tests.waiting import wait_for

JOB = Reference("batch/v1", "Job", "convert-r-1")


def run(cluster: Cluster, spec: JobSpec, folder: Path, seconds: float) -> Manifest:
    """What the step run_job does, with the ServiceAccount and the Roles of its namespace."""
    runner = connect_as(cluster, "pipeline-runner", folder)
    given = {"name": "convert", "run": "r-1", "folder": "", "output": folder / "output"}
    return run_job(runner, spec, **given, scheduling_timeout=seconds)


def gpu_job(gpus: int, **changes: object) -> JobSpec:
    """A Job whose pod runs until it is let go, on so many GPUs."""
    spec = played("running", role="training", **changes)
    accelerator = TARGET.placement("training").accelerator
    assert accelerator
    changed = {"accelerator": accelerator.model_copy(update={"count": gpus})}
    return spec.model_copy(update={"placement": spec.placement.model_copy(update=changed)})


def test_a_second_team_gets_no_more_gpus_than_its_quota_and_the_first_goes_on(team_bed: Bed, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with (
        ThreadPoolExecutor(1) as executor,
        team(team_bed, tmp_path, "one") as first,
        team(team_bed, tmp_path, "two", gpus=1) as second,
    ):
        step = executor.submit(run, first, gpu_job(2), tmp_path / "one", SECONDS)
        (pod,) = running(first)
        before = get(first, JOB)
        with pytest.raises(WorkloadFailedError) as caught:
            run(second, gpu_job(2), tmp_path / "two", 3)
        assert caught.value.cause == "quota-exceeded"
        assert "the quota stepworks-training is exceeded (requested: requests.nvidia.com/gpu=2" in caught.value.problem
        assert "kubectl -n two describe resourcequota stepworks-training" in caught.value.what_to_do
        assert pods(second) == []
        after = get(first, JOB)
        assert (after["metadata"]["uid"], after["spec"]) == (before["metadata"]["uid"], before["spec"])
        assert running(first) == [pod]
        let_succeed(first, pod)
        assert step.result(SECONDS)["job"] == "convert-r-1"


def served(gpus: int) -> Manifest:
    """A pod of a model server, as an InferenceService's Deployment makes one."""
    placement = TARGET.placement("training")
    container = {
        "name": "kserve-container",
        "image": TARGET.image("serving"),
        "resources": {"limits": {"cpu": "1", "memory": "1Gi", "nvidia.com/gpu": str(gpus)}},
    }
    spec = {
        "priorityClassName": "inference",
        "nodeSelector": dict(placement.node_selector),
        "tolerations": [{"operator": "Exists"}],
        "containers": [container],
    }
    annotations = {"testbed.stepworks.dev/outcome": "running"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "served", "annotations": annotations}, "spec": spec}


def test_a_model_server_takes_the_place_of_training_and_the_step_says_so(
    team_bed: Bed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training = gpu_job(4, priority_class="training", completions=2, parallelism=2)
    with ThreadPoolExecutor(1) as executor, team(team_bed, tmp_path, "shared") as cluster:
        step = executor.submit(run, cluster, training, tmp_path, SECONDS)
        names = running(cluster, count=2)  # both nodes are full
        create(cluster, served(1))
        wait_for("the model server runs", lambda: "served" in running(cluster))
        left = [name for name in running(cluster) if name != "served"]
        assert len(left) == 1
        assert set(left) < set(names)
        wait_for("the step tells of it", lambda: "and one before it was preempted" in capsys.readouterr().out)
        team_bed.kubectl("-n", cluster.namespace, "delete", "pod", "served")
        (again,) = running(cluster, besides=(*left, "served"))
        let_succeed(cluster, *left, again)
        assert step.result(SECONDS)["job"] == "convert-r-1"


def test_training_waits_and_takes_nobodys_place(team_bed: Bed, tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as executor, team(team_bed, tmp_path, "waiting", gpus=9) as cluster:
        plain = executor.submit(run, cluster, gpu_job(4, completions=2, parallelism=2), tmp_path, SECONDS)
        names = running(cluster, count=2)
        pod = served(1)
        pod["spec"]["priorityClassName"] = "training"
        create(cluster, pod)
        told = wait_for("the scheduler has looked", lambda: scheduler_message(cluster, "served"))
        assert "Insufficient nvidia.com/gpu" in told
        assert "not eligible due to preemptionPolicy=Never" in told
        assert sorted(running(cluster, count=2)) == sorted(names)
        let_succeed(cluster, *names)
        plain.result(SECONDS)


def scheduler_message(cluster: Cluster, name: str) -> str:
    """What the scheduler says of a pod."""
    conditions = get(cluster, Reference("v1", "Pod", name)).get("status", {}).get("conditions") or []
    return next((str(each.get("message", "")) for each in conditions if each["type"] == "PodScheduled"), "")
