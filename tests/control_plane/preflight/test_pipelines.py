"""Whole pipelines against whole clusters: what passes is then scheduled, and what does not would have hung."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from stepworks.errors import PreflightError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import apply, create, get, list_objects
from stepworks.kube.api.permissions import own_service_account
from stepworks.kube.api.references import Reference, Selection
from stepworks.kube.kinds.manifests import Manifest, conditions_of
from stepworks.kube.preflight.admission import build_pod
from stepworks.kube.preflight.needs import MAKERS, MakerNeed, Needs
from stepworks.kube.preflight.queues import check_queues
from stepworks.kube.preflight.report import Preflight, State
from stepworks.kube.preflight.served import check_kinds, check_runtimes
from stepworks.kube.preflight.view import View
from stepworks.kubeflow.ir.read import read_ir
from stepworks.kubeflow.needs import needs_of
from stepworks.operations.permissions import PERMISSIONS
from stepworks.placement.pod_placement import PodPlacement
from stepworks.placement.storage import Mount
from stepworks.placement.target import Target
from stepworks.preflight.objects import BUILDERS, objects_of
from stepworks.preflight.step import check, require_can_run
from testbed.bed import Bed
from tests.control_plane.kube.workloads import allow, allow_steps, connect_as, custom_kind
from tests.control_plane.preflight.test_preflight import claim, object_of, pods
from tests.waiting import wait_for

ROOT = Path(__file__).parents[3]
A100 = Target.read(ROOT / "targets" / "a100.yaml")
SHARED = Mount(claim="shared", mount_path="/mnt/shared", access_mode="ReadWriteMany")


def placement(role: str, **changes: Any) -> dict[str, Any]:
    placed = A100.placement(role).model_copy(update=changes)
    return PodPlacement(role=role, placement=placed, mounts=(SHARED,)).to_json()


GIVEN: dict[str, dict[str, Any]] = {
    "run_job": {"placement": placement("training"), "parallelism": 2.0, "completions": 2.0},
    "train_distributed": {"placement": placement("training"), "nodes": 2.0},
    "deploy": {"placement": placement("serving"), "format": "onnxruntime"},
    "serve_version": {"placement": placement("serving"), "format": "sklearn"},
    "deploy_model_server": {"placement": placement("serving")},
    "make_claim": {"size": "1Gi", "access_mode": "ReadWriteMany"},
    "roll_out_canary": {},
    "compare_answers": {},
    "clean_up_run": {},
}
MADE = {
    "run_job": ["Job"],
    "train_distributed": ["TrainingRuntime"],
    "deploy": ["InferenceService", "InferenceGraph"],
    "serve_version": ["InferenceService", "InferenceGraph"],
    "deploy_model_server": ["Deployment", "Service"],
    "make_claim": ["PersistentVolumeClaim"],
}


@pytest.mark.parametrize("component", GIVEN)
def test_the_cluster_takes_the_very_objects_of_each_step(kubeflow_cluster: Cluster, component: str) -> None:
    made = list(objects_of(kubeflow_cluster, component, GIVEN[component]))
    assert [each["kind"] for each in made] == MADE.get(component, [])
    for each in made:
        assert create(kubeflow_cluster, each, dry_run=True)["metadata"]["name"] == each["metadata"]["name"]


@pytest.mark.parametrize(
    ("given", "kinds"),
    [
        ({"kind": "PyTorchJob"}, ["PyTorchJob"]),
        ({"kind": "TFJob"}, ["TFJob"]),
        ({"placement": placement("small", retry=None, timeout_seconds=None)}, ["TrainJob"]),
    ],
    ids=["PyTorchJob", "TFJob", "TrainJob without a runtime of its own"],
)
def test_the_cluster_takes_each_kind_of_training_job(
    kubeflow_cluster: Cluster, given: dict[str, Any], kinds: list[str]
) -> None:
    made = list(objects_of(kubeflow_cluster, "train_distributed", {**GIVEN["train_distributed"], **given}))
    assert [each["kind"] for each in made] == kinds


def test_a_kind_that_the_cluster_knows_and_one_that_it_does_not(kubeflow_cluster: Cluster) -> None:
    job = object_of("batch/v1", "Job", "x")
    queue = object_of("kueue.x-k8s.io/v1beta1", "LocalQueue", "x")
    known, not_known = check_kinds(View(kubeflow_cluster), [("run-job", job), ("queue", queue)])
    assert (known.state, not_known.state) == (State.FINE, State.MISSING)
    assert not_known.what_to_do == "Have Kueue installed in the cluster: its CRDs, and its controller."


def runtime(*formats: str, **spec: Any) -> Manifest:
    supported = [{"name": each, "version": "1", "autoSelect": True} for each in formats]
    containers = [{"name": "kserve-container", "image": "registry.example.com/team/server:1"}]
    asked = {"supportedModelFormats": supported, "protocolVersions": ["v2"], "containers": containers}
    return object_of("serving.kserve.io/v1alpha1", "ServingRuntime", "ours", spec=asked | spec)


@pytest.mark.parametrize(
    ("spec", "state", "told"),
    [
        (None, State.MISSING, "it is not there, for deploy; there is"),
        ({}, State.FINE, "it serves onnx by the protocol v2"),
        ({"protocolVersions": ["v1"]}, State.MISSING, "it takes onnx by v1"),
        ({"supportedModelFormats": [{"name": "triton"}]}, State.MISSING, "it takes triton by v2"),
        ({"disabled": True}, State.MISSING, "it is disabled"),
    ],
    ids=["none", "fits", "protocol", "format", "disabled"],
)
def test_a_runtime_serves_the_format_by_the_protocol_or_not(
    kubeflow_cluster: Cluster, spec: dict[str, Any] | None, state: State, told: str
) -> None:
    if spec is not None:
        apply(kubeflow_cluster, runtime("onnx", **spec))
    model = {"modelFormat": {"name": "onnx"}, "protocolVersion": "v2", "runtime": "ours"}
    service = object_of("serving.kserve.io/v1beta1", "InferenceService", "x", spec={"predictor": {"model": model}})
    (found,) = check_runtimes(View(kubeflow_cluster), [("deploy", service)])
    assert found.state == state
    assert told in found.told


def job_needs(**changes: Any) -> Needs:
    """A pipeline of one step, which runs a Job on GPUs."""
    given = {"placement": placement("training", **changes)}
    return Needs(
        pods=[pods().model_copy(update={"steps": ("run-job",)})],
        makers=[MakerNeed(step="run-job", component="run_job", given=given)],
        peak={"pods": "2", "requests.nvidia.com/gpu": "1"},
    )


def scheduled(cluster: Cluster, names: list[str]) -> dict[str, bool]:
    """Whether the scheduler finds a node for each pod of some names' prefixes, once it has said so."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        told = {
            pod["metadata"]["name"]: conditions_of(pod).get("PodScheduled", {}).get("status")
            for pod in list_objects(cluster, Selection("v1", "Pod"))
        }
        found = {name: [status for pod, status in told.items() if pod.startswith(name)] for name in names}
        if all(found.values()) and all(status for each in found.values() for status in each):
            return {name: set(each) == {"True"} for name, each in found.items()}
        time.sleep(0.1)
    raise AssertionError(f"the scheduler has not decided: {told}")


def start(cluster: Cluster, needs: Needs) -> dict[str, bool]:
    """Make what a run would make at once, and see whether there is a node for each pod."""
    pod = build_pod(needs.pods[0], "runner")
    pod["metadata"]["name"] = "run-job"
    create(cluster, pod)
    (job,) = objects_of(cluster, "run_job", needs.makers[0].given)
    create(cluster, job)
    return scheduled(cluster, ["run-job", job["metadata"]["name"]])


@pytest.fixture
def team(cluster: Cluster) -> Cluster:
    """A namespace with what the Job of `job_needs` takes."""
    create(cluster, object_of("v1", "ServiceAccount", "runner"))
    allow_steps(cluster, "runner", "run_job")
    volume = {"storage": "1Gi"}
    spec = {
        "capacity": volume,
        "accessModes": ["ReadWriteMany"],
        "hostPath": {"path": "/nowhere"},
        "claimRef": {"namespace": cluster.namespace, "name": "shared"},
    }
    create(cluster, object_of("v1", "PersistentVolume", f"shared-{cluster.namespace}", spec=spec))
    claim = {"accessModes": ["ReadWriteMany"], "storageClassName": "", "resources": {"requests": volume}}
    create(cluster, object_of("v1", "PersistentVolumeClaim", "shared", spec=claim))
    reference = Reference("v1", "PersistentVolumeClaim", "shared")
    wait_for("the claim is bound", lambda: get(cluster, reference)["status"].get("phase") == "Bound")
    return cluster


def looked(cluster: Cluster, needs: Needs) -> Preflight:
    return check(cluster, needs, service_account="runner")


def test_a_pipeline_that_passed_is_then_scheduled(team: Cluster) -> None:
    found = looked(team, job_needs())
    assert found.is_fine, found
    require_can_run(found)
    assert start(team, job_needs()) == {"run-job": True, "stepworks-preflight-preflight": True}


def test_a_pipeline_that_failed_would_have_hung(team: Cluster) -> None:
    needs = job_needs(node_selector={"gpu-type": "h200"})
    found = looked(team, needs)
    assert [(check.topic, check.state) for check in found.checks if check.state != State.FINE] == [
        ("nodes", State.MISSING)
    ]
    with pytest.raises(PreflightError, match="no node fits") as raised:
        require_can_run(found)
    assert "Correct the node selector of the placement" in raised.value.what_to_do
    assert start(team, needs) == {"run-job": True, "stepworks-preflight-preflight": False}


def test_every_compiled_pipeline_is_looked_at_whole(kubeflow_cluster: Cluster) -> None:
    """What it lacks in an empty namespace is what cluster/ sets up, and nothing of it is unclear but Katib's."""
    for path in sorted((ROOT / "compiled").glob("*/*/a100.yaml")):
        found = check(kubeflow_cluster, needs_of(read_ir(path)))
        topics = {each.topic for each in found.of(State.MISSING)}
        assert "service account" in topics, path
        assert topics <= {"service account", "claim", "runtime", "permission", "kind"}, (path, found.of(State.MISSING))
        assert {each.topic for each in found.of(State.UNKNOWN)} <= {"object"}, found.of(State.UNKNOWN)


def test_every_step_that_makes_something_has_a_builder() -> None:
    assert set(BUILDERS) == set(MAKERS)
    assert set(PERMISSIONS) - {"preflight"} <= set(MAKERS)


KUEUE = "kueue.x-k8s.io/v1beta1"


def test_a_queue_is_missing_stopped_too_small_in_use_or_free(cluster: Cluster, bed: Bed) -> None:
    need = pods(gpus=2, queue="team")

    def told() -> tuple[State, str]:
        fresh = Cluster(cluster.client, cluster.namespace)
        (found,) = check_queues(View(fresh), [need])
        return found.state, found.told

    assert told() == (State.MISSING, "the cluster has no Kueue")
    kinds = (
        custom_kind(KUEUE, "LocalQueue", "localqueues"),
        custom_kind(KUEUE, "ClusterQueue", "clusterqueues", scope="Cluster"),
    )
    for each in kinds:
        create(cluster, each)
    try:
        bed.kubectl("wait", *(f"crd/{each['metadata']['name']}" for each in kinds), "--for=condition=Established")
        assert told()[0] == State.MISSING
        create(cluster, object_of(KUEUE, "LocalQueue", "team", spec={"clusterQueue": "gpus"}))
        assert told() == (State.MISSING, "its ClusterQueue gpus is not there")
        quota = [
            {"name": name, "nominalQuota": amount}
            for name, amount in (("nvidia.com/gpu", 4), ("cpu", 9), ("memory", "9Gi"))
        ]
        group = {
            "coveredResources": [each["name"] for each in quota],
            "flavors": [{"name": "a100", "resources": quota}],
        }

        def queue(selector: dict[str, Any] | None = {}, **status: Any) -> None:  # noqa: B006
            spec = {"resourceGroups": [group]} | ({} if selector is None else {"namespaceSelector": selector})
            apply(cluster, object_of(KUEUE, "ClusterQueue", "gpus", spec=spec, status=status))

        queue(conditions=[{"type": "Active", "status": "False", "reason": "FlavorNotFound"}])
        assert told() == (State.MISSING, "its ClusterQueue gpus admits nothing: Active is False (FlavorNotFound)")
        active = [{"type": "Active", "status": "True"}]
        queue(None, conditions=active)
        assert told()[1].endswith("has no namespaceSelector, and so admits nothing of any namespace")
        used = [{"name": "a100", "resources": [{"name": "nvidia.com/gpu", "total": "3"}]}]
        queue(conditions=active, flavorsReservation=used)
        assert told() == (State.WAITS, "train asks for 2 nvidia.com/gpu, and 1 of 4 is left")
        queue(conditions=active)
        assert told() == (State.FINE, "the ClusterQueue gpus has room")
        group["flavors"].append({**group["flavors"][0], "name": "h100"})
        queue(conditions=active)
        need = pods(gpus=5, queue="team")
        assert told()[0] == State.MISSING
        assert told()[1].endswith("the queue has 4 in one flavor, and pods that belong together get one")
        del group["flavors"][1]
        queue(conditions=active)
        assert told() == (State.MISSING, "train asks for 5 nvidia.com/gpu, and the queue has 4")
    finally:
        for each in kinds:
            bed.kubectl("delete", "crd", each["metadata"]["name"])


COMPILED = ROOT / "compiled" / "language_fine_tune" / "0.1.0" / "a100.yaml"


def command(kubeconfig: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command, as a user types it."""
    return subprocess.run(
        [Path(sys.executable).with_name("stepworks"), "preflight", *arguments],
        env={**os.environ, "KUBECONFIG": str(kubeconfig)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_tells_by_its_exit_code_and_in_json(team: Cluster, bed: Bed, tmp_path: Path) -> None:
    lacking = command(bed.kubeconfig, COMPILED, "-n", team.namespace, "--service-account", "runner")
    assert lacking.returncode == 1, lacking.stderr
    assert "claim           PersistentVolumeClaim stepworks-checkpoints: it is not in the namespace" in lacking.stdout
    assert lacking.stdout.startswith("MISSING\n")
    create(team, claim("stepworks-checkpoints"))
    written = tmp_path / "preflight.json"
    options = ["--service-account", "runner", "--format", "json", "-o", written]
    there = command(bed.kubeconfig, COMPILED, "-n", team.namespace, *options)
    found = json.loads(written.read_text())
    assert (there.returncode, found["can_run"]) == (0, True), there.stderr
    assert {each["state"] for each in found["checks"] if each["topic"] == "claim"} <= {"fine", "waits"}


def test_a_namespace_where_nothing_may_be_looked_at(cluster: Cluster, tmp_path: Path) -> None:
    connect_as(cluster, "stranger", tmp_path)
    blind = command(tmp_path / "stranger.yaml", COMPILED, "-n", cluster.namespace)
    assert blind.returncode == 2, blind.stdout
    assert "may be looked at" in blind.stderr
    assert "ServiceAccount stranger" in blind.stderr


def test_the_step_checks_under_its_own_service_account(team: Cluster, tmp_path: Path) -> None:
    """What it may not look at does not end the run; what is missing does, after the page is written."""
    runner = connect_as(team, "runner", tmp_path)
    needs = needs_of(read_ir(COMPILED))
    found = check(runner, needs, service_account=own_service_account(runner), as_itself=True)
    assert found.service_account == "runner"
    assert found.can_run
    assert {each.topic for each in found.of(State.UNKNOWN)} >= {"nodes", "quota", "claim", "admission"}
    allow(team, "runner", [{"apiGroups": [""], "resources": ["persistentvolumeclaims"], "verbs": ["get"]}])
    wait_for(
        "what is missing is seen", lambda: not check(runner, needs, service_account="runner", as_itself=True).can_run
    )
