"""The compiled step run_job in a pod of its own, and its Job's pods beside it: all of them really run."""

import json
from pathlib import Path

import pytest
from kfp import dsl

from stepworks.components.operations.run_job.component import run_job
from stepworks.errors import ClusterError, WorkloadFailedError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import create, get
from stepworks.kube.api.pods import read_log
from stepworks.kube.api.references import Reference, reference_to
from stepworks.kube.builders.job import job_spec
from stepworks.kube.kinds.manifests import Manifest
from stepworks.kube.kinds.rules import POD_SUCCEEDED
from stepworks.kube.waiting.wait import wait
from stepworks.kubeflow.pipeline import claim_path, pipeline
from stepworks.kubeflow.place import place
from stepworks.kubeflow.placement_of import image_of, placement_of
from tests import pod_namespaces
from tests.control_plane.jobs import SECONDS, TARGET, run_step
from tests.control_plane.kube.workloads import allow_steps, connect_as
from tests.control_plane.pods import pods
from tests.control_plane.step_pod import step_pod

RUN = "6f1d2c3b-1111-4222-8333-444455556666"
PROGRAM = """
import json, os, pathlib
output = pathlib.Path(os.environ["STEPWORKS_OUTPUT"])
(output / f"{os.environ['JOB_COMPLETION_INDEX']}.txt").write_text(os.environ["GREETING"])
(output / "result.json").write_text(json.dumps({"rows": 3}))
"""


@pipeline(version="1.0.0")
def with_a_job() -> None:
    """Run a Job."""
    place(
        run_job(
            name="greet",
            run=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
            image=image_of("cpu"),
            command=["python3", "-c", PROGRAM],
            environment={"GREETING": "hello from $(STEPWORKS_OUTPUT)"},
            placement=placement_of("small", mounts=["scratch"]),
            folder=f"{claim_path('scratch')}/{dsl.PIPELINE_JOB_ID_PLACEHOLDER}/greetings",
            completions=2,
            parallelism=2,
        ),
        "effects",
        mounts=["scratch"],
    )


def pod_of_the_step() -> Manifest:
    """The pod of the step."""
    artifact = {"name": "output", "type": {"schemaTitle": "system.Artifact"}, "uri": "/mnt/scratch/artifact"}
    return step_pod(with_a_job, "run-job", claim="scratch", run=RUN, outputs={"output": {"artifacts": [artifact]}})


def claim() -> Manifest:
    resources = {"requests": {"storage": "1Gi"}}
    spec = {"accessModes": ["ReadWriteMany"], "resources": resources}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "scratch"}, "spec": spec}


def folder_of(cluster: Cluster, claim: Manifest) -> Path:
    """Where a claim's volume is on this machine."""
    volume = get(cluster, reference_to(claim))["spec"]["volumeName"]
    return Path(get(cluster, Reference("v1", "PersistentVolume", volume))["spec"]["hostPath"]["path"])


@pytest.mark.skipif(
    pod_namespaces.MISSING,
    reason="a step in a pod needs its token at its own path, which only root on Linux can give it",
)
def test_a_job_writes_into_a_claim_and_the_step_hands_it_back(process_cluster: Cluster, tmp_path: Path) -> None:
    cluster = process_cluster
    connect_as(cluster, "runner", tmp_path)
    allow_steps(cluster, "runner", "run_job")
    scratch = create(cluster, claim())
    step = create(cluster, pod_of_the_step())
    try:
        wait(cluster, reference_to(step), until=POD_SUCCEEDED, timeout=3 * SECONDS)
    except ClusterError as error:
        error.add_note(read_log(cluster, "step"))
        raise
    folder = folder_of(cluster, scratch)
    greeting = f"hello from /mnt/scratch/{RUN}/greetings"
    assert {path.name: path.read_text() for path in (folder / "artifact").iterdir()} == {
        "0.txt": greeting,
        "1.txt": greeting,
        "result.json": '{"rows": 3}',
    }
    (artifact,) = json.loads((folder / "executor-output.json").read_text())["artifacts"]["output"]["artifacts"]
    assert artifact["metadata"]["rows"] == 3
    assert artifact["metadata"]["job"] == f"greet-{RUN}"
    workers = [each for each in pods(cluster) if each["metadata"]["name"] != "step"]
    assert {each["spec"]["nodeName"] for each in workers} == {"process-cpu"}


def test_a_job_on_the_gpu_node_that_fails_says_why(process_cluster: Cluster, tmp_path: Path) -> None:
    program = ["sh", "-c", "echo the disk is on fire; exit 64"]
    placement = TARGET.placement("training")
    spec = job_spec(image=TARGET.image("cpu"), command=program, placement=placement, permanent_exit_codes=[64])
    with pytest.raises(ClusterError, match="exit code 64") as raised:
        run_step(process_cluster, spec, tmp_path / "output")
    assert "the disk is on fire" in str(raised.value)
    assert [each["spec"]["nodeName"] for each in pods(process_cluster)] == ["process-gpu"]
    assert not (tmp_path / "output").exists()


def test_a_command_that_is_not_there_is_given_up_at_its_second_start(process_cluster: Cluster, tmp_path: Path) -> None:
    placement = TARGET.placement("small")
    assert placement.retry
    patient = placement.model_copy(update={"retry": placement.retry.model_copy(update={"count": 6})})
    spec = job_spec(image=TARGET.image("cpu"), command=["trian"], placement=patient)
    with pytest.raises(WorkloadFailedError) as raised:
        run_step(process_cluster, spec, tmp_path / "output")
    assert (raised.value.cause, raised.value.permanent) == ("command-missing", True)
    assert len(pods(process_cluster)) <= 2  # of the seven that the Job would have tried
