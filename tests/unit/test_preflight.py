"""What steps make and may do, as far as it is known before they run."""

import json
from pathlib import Path
from typing import Any

import pytest

from stepworks.errors import PreflightError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.preflight.needs import MakerNeed, Needs
from stepworks.kube.preflight.report import Check, Preflight, State
from stepworks.placement.pod_placement import PodPlacement
from stepworks.placement.storage import Mount
from stepworks.placement.target import Target
from stepworks.preflight.objects import objects_of
from stepworks.preflight.step import document_of, require_can_run
from stepworks.preflight.wanted import wanted_by
from stepworks.report.page import document_page

A100 = Target.read(Path(__file__).parents[2] / "targets" / "a100.yaml")
NOWHERE = Cluster(None, "team")
"""These builders ask no cluster."""


def placement(role: str) -> dict[str, Any]:
    mount = Mount(claim="registry", mount_path="/mnt/registry", access_mode="ReadWriteMany")
    return PodPlacement(role=role, placement=A100.placement(role), mounts=(mount,)).to_json()


GATEWAY = {"gateway": "ingress/main", "host": "models.example.com"}
LATENCY = {"kind": "p95_latency", "target_seconds": 0.2, "prometheus": "http://prometheus.example.com"}
REQUESTS = {"kind": "requests_per_second", "target": 5.0, "prometheus": "http://prometheus.example.com"}
SEARCH = {
    "placement": placement("training"),
    "image": "registry.example.com/team/train:1",
    "space": {"learning_rate": {"type": "double", "minimum": 1e-4, "maximum": 1e-1}},
    "objective": {"metric": "auc", "goal": "maximize"},
    "trials": 4.0,
    "parallel_trials": 2.0,
}


@pytest.mark.parametrize(
    ("component", "given", "kinds"),
    [
        ("deploy", {"service": GATEWAY}, ["InferenceService", "HTTPRoute"]),
        ("deploy", {"service": {"mode": "Knative"}}, ["InferenceService"]),
        (
            "deploy",
            {"service": {"autoscaling": REQUESTS, "max_replicas": 3.0}},
            ["InferenceService", "ScaledObject", "InferenceGraph"],
        ),
        (
            "deploy",
            {"service": {"autoscaling": {"kind": "cpu", "target_percent": 80.0}, "max_replicas": 3.0}},
            ["InferenceService", "InferenceGraph"],
        ),
        ("deploy_model_server", {"service": GATEWAY}, ["Deployment", "Service", "HTTPRoute"]),
    ],
)
def test_a_service_is_made_with_what_splits_and_scales_it(
    component: str, given: dict[str, Any], kinds: list[str]
) -> None:
    given = {"placement": placement("serving"), "format": "onnxruntime", **given}
    assert [each["kind"] for each in objects_of(NOWHERE, component, given)] == kinds


def test_a_search_is_made_of_its_trials() -> None:
    (experiment,) = objects_of(NOWHERE, "tune", SEARCH)
    assert experiment["spec"]["parallelTrialCount"] == 2
    assert experiment["spec"]["trialTemplate"]["trialSpec"]["kind"] == "Job"


def wanted(component: str, **given: Any) -> Any:
    return wanted_by(NOWHERE, Needs(makers=[MakerNeed(step="it", component=component, given=given)]))


def test_the_pods_of_a_search_are_there_once_for_each_trial_at_once() -> None:
    (pods,) = wanted("tune", **SEARCH).pods
    assert (pods.together, pods.parallel, pods.maker, pods.requests["nvidia.com/gpu"]) == (1, 2, "Experiment", "1")


@pytest.mark.parametrize(
    ("given", "together", "parallel"),
    [
        ({"nodes": 4.0}, 4, 1),
        ({"kind": "PyTorchJob", "nodes": 8.0, "least_nodes": 2.0}, 2, 1),
        ({"kind": "TFJob", "nodes": 2.0, "parameter_servers": 1.0, "evaluator": True}, 4, 1),
        ({"completions": 9.0, "parallelism": 3.0}, 1, 3),
    ],
)
def test_only_nodes_need_each_other(given: dict[str, Any], together: int, parallel: int) -> None:
    component = "run_job" if "parallelism" in given else "train_distributed"
    (pods,) = wanted(component, placement=placement("training"), **{"kind": "PyTorchJob", **given}).pods
    assert (pods.together, pods.parallel) == (together, parallel)


def test_a_model_server_has_its_least_replicas() -> None:
    service = {"min_replicas": 3.0, "max_replicas": 4.0}
    (pods,) = wanted("deploy", placement=placement("serving"), format="onnxruntime", service=service).pods
    assert pods.at_once == 3


def test_of_a_step_whose_inputs_the_run_gives_nothing_is_checked_by_a_guess() -> None:
    given = {"placement": placement("training")}
    maker = MakerNeed(step="it", component="train_distributed", given=given, later=("kind", "nodes"))
    found = wanted_by(NOWHERE, Needs(makers=[maker]))
    assert found.unclear == {"it": "its kind: only the run knows"}
    assert (found.objects, found.pods, found.rights) == ((), (), {})


def test_where_only_a_number_is_not_known_the_least_is_looked_at() -> None:
    given = {"placement": placement("training"), "kind": "PyTorchJob"}
    found = wanted_by(
        NOWHERE, Needs(makers=[MakerNeed(step="it", component="train_distributed", given=given, later=("nodes",))])
    )
    assert found.unclear == {"it": "its nodes: only the run knows, and the least is looked at"}
    assert [pods.together for pods in found.pods] == [1]
    assert [made["kind"] for _, made in found.objects] == ["PyTorchJob"]
    assert found.rights["it"]


def test_a_server_outlives_the_run_and_mounts_nothing_by_its_deadline() -> None:
    (pods,) = wanted("deploy", placement=placement("serving"), format="onnxruntime").pods
    assert (pods.maker, pods.endless) == ("InferenceService", True)


@pytest.mark.parametrize(
    ("component", "given", "told"),
    [
        ("deploy", {"placement": placement("serving")}, "its format: only the run knows"),
        ("run_job", {}, "its placement: only the run knows"),
        ("deploy", {"placement": placement("small"), "format": "onnxruntime"}, "of a model server is inference"),
    ],
)
def test_what_is_not_known_is_told_and_no_error(component: str, given: dict[str, Any], told: str) -> None:
    found = wanted(component, **given)
    assert found.objects == ()
    assert told in found.unclear["it"]


def test_a_step_needs_the_permissions_of_what_it_makes_and_no_others() -> None:
    def resources(component: str, **given: Any) -> set[str]:
        (rights,) = wanted(component, **given).rights.values()
        return {f"{right.resource}.{right.group}" for right in rights if not right.optional}

    plain = resources("deploy", placement=placement("serving"), format="onnxruntime")
    assert "inferencegraphs.serving.kserve.io" in plain
    assert not any("keda" in each or "gateway" in each for each in plain)
    behind = wanted("deploy", placement=placement("serving"), format="onnxruntime", service=GATEWAY).rights["it"]
    assert {right.namespace for right in behind if right.resource == "gateways"} == {"ingress"}
    assert resources("tune", **SEARCH) == {"experiments.kubeflow.org", "trials.kubeflow.org"}


def test_a_step_that_changes_what_others_made_needs_permissions_for_that() -> None:
    makers = [
        MakerNeed(step="deploy", component="deploy", given={"placement": placement("serving"), "format": "sklearn"}),
        MakerNeed(step="roll-out", component="roll_out_canary"),
        MakerNeed(step="end", component="clean_up_run"),
    ]
    rights = wanted_by(NOWHERE, Needs(makers=makers)).rights
    assert {right.verb for right in rights["roll-out"] if right.resource == "inferencegraphs"} >= {"patch", "delete"}
    assert rights["end"] == []


def test_a_refusal_says_all_that_is_missing_and_what_to_do() -> None:
    lacking = (
        Check("nodes", "train", State.MISSING, "no node fits", "Add nodes."),
        Check("claim", "data", State.MISSING, "it is not there", "Create it."),
        Check("quota", "team", State.FINE, "room for all"),
    )
    with pytest.raises(PreflightError) as raised:
        require_can_run(Preflight("team", "runner", lacking))
    assert str(raised.value) == (
        "The pipeline cannot run in the namespace team\n"
        "  Received: \n    nodes: train: no node fits\n    claim: data: it is not there\n"
        "  Expected: a cluster that has what the pipeline needs\n"
        "  What to do: \n    Add nodes.\n    Create it."
    )
    require_can_run(Preflight("team", "runner", lacking[2:]))


def test_what_was_found_is_a_document_and_a_page() -> None:
    found = Preflight("team", "runner", (Check("nodes", "train", State.WAITS, "room for 0 of 1", "Wait."),))
    document = document_of(found)
    assert json.loads(document.model_dump_json())["checks"][0]["state"] == "waits"
    assert "room for 0 of 1" in document_page([document], "Pre-flight")
