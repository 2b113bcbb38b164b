"""What the retry that Kubeflow Pipelines asks of Argo does when a step's pod fails, is evicted, deleted or preempted.

Our steps build on it: see docs/reliability.md. The strategy is the one that KFP's compiler writes for `set_retry`: a
limit and a backoff, and no retryPolicy, for which Argo takes OnFailure.
"""

from __future__ import annotations

import json
import secrets
from typing import Any

import pytest

from stepworks.kube.api.cluster import connect
from stepworks.kube.api.pods import evict
from testbed.bed import Bed
from tests.control_plane.argo.conftest import NAMESPACE
from tests.waiting import wait_for

ATTEMPTS = 2
"""One retry, so two attempts."""
SECONDS = 300.0
"""How long anything is waited for: Argo looks at a Workflow every ten seconds."""


def start(bed: Bed, *, outcome: str = "running", retry: bool = True, on_gpu: bool = False) -> str:
    """Start a Workflow of one step whose pods come to the given outcome; returns its name."""
    name = f"w-{secrets.token_hex(3)}"
    template: dict[str, Any] = {
        "name": "step",
        "metadata": {"annotations": {"testbed.stepworks.dev/outcome": outcome}},
        "container": {"image": "registry.example.com/step:1", "command": ["true"]},
    }
    if retry:
        backoff = {"duration": "1", "factor": "2", "maxDuration": "3600"}
        template["retryStrategy"] = {"limit": str(ATTEMPTS - 1), "backoff": backoff}
    if on_gpu:
        template["nodeSelector"] = {"gpu": "one"}
        template["priorityClassName"] = "training"
        template["container"]["resources"] = {"limits": {"nvidia.com/gpu": "1"}}
    bed.apply(
        {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Workflow",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"entrypoint": "step", "serviceAccountName": "runner", "templates": [template]},
        }
    )
    return name


def attempts(bed: Bed, workflow: str) -> list[dict[str, Any]]:
    """The pods that the Workflow has had, as Argo records them, in their order."""
    nodes = (
        json.loads(bed.kubectl("get", "workflow", workflow, "-n", NAMESPACE, "-o", "json"))
        .get("status", {})
        .get("nodes", {})
    )
    return sorted((node for node in nodes.values() if node["type"] == "Pod"), key=lambda node: node["startedAt"])


def phase(bed: Bed, workflow: str) -> str:
    return bed.kubectl("get", "workflow", workflow, "-n", NAMESPACE, "-o", "jsonpath={.status.phase}")


def pod_of(bed: Bed, workflow: str) -> str:
    """The one pod of the Workflow that is there now."""
    selector = f"--selector=workflows.argoproj.io/workflow={workflow}"
    return bed.kubectl("get", "pods", "-n", NAMESPACE, selector, "-o", "name").strip().removeprefix("pod/")


def wait_seen(bed: Bed, workflow: str, state: str) -> None:
    """Wait until Argo has written down that the step's pod is in a state."""
    wait_for(
        f"{workflow} is seen as {state}",
        lambda: [node["phase"] for node in attempts(bed, workflow)] == [state],
        SECONDS,
    )


def preempt(bed: Bed) -> None:
    """Start a pod of higher priority that needs the GPU."""
    container = {"name": "server", "image": "x", "resources": {"limits": {"nvidia.com/gpu": "1"}}}
    spec = {"priorityClassName": "inference", "nodeSelector": {"gpu": "one"}, "containers": [container]}
    metadata = {"name": "inference", "namespace": NAMESPACE}
    bed.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})


@pytest.fixture(scope="module")
def workflows(argo_bed: Bed) -> dict[str, str]:
    """Workflows to which everything happened that can, by what it was; all at once, since Argo takes its time."""
    started = {outcome: start(argo_bed, outcome=outcome) for outcome in ("failed", "oom-killed", "evicted")}
    started["no retry"] = start(argo_bed, outcome="failed", retry=False)
    for fault in ("deleted", "evicted through the API"):
        started[fault] = start(argo_bed)
    started["preempted"] = start(argo_bed, on_gpu=True)
    for fault in ("deleted", "evicted through the API", "preempted"):
        wait_seen(argo_bed, started[fault], "Running")
    argo_bed.kubectl("delete", "pod", "-n", NAMESPACE, pod_of(argo_bed, started["deleted"]))
    evict(
        connect(kubeconfig=argo_bed.kubeconfig, namespace=NAMESPACE),
        pod_of(argo_bed, started["evicted through the API"]),
    )
    preempt(argo_bed)
    for fault, workflow in started.items():
        wait_for(f"{fault} has ended", lambda w=workflow: phase(argo_bed, w) not in {"", "Pending", "Running"}, SECONDS)
    return started


@pytest.mark.parametrize("outcome", ["failed", "oom-killed", "evicted"])
def test_a_pod_that_ends_as_failed_is_retried(argo_bed: Bed, workflows: dict[str, str], outcome: str) -> None:
    """A container that exits with an error or is killed, and a pod that its node evicts, are failures."""
    assert phase(argo_bed, workflows[outcome]) == "Failed"
    assert [node["phase"] for node in attempts(argo_bed, workflows[outcome])] == ["Failed"] * ATTEMPTS


def test_without_a_retry_strategy_there_is_one_attempt(argo_bed: Bed, workflows: dict[str, str]) -> None:
    assert phase(argo_bed, workflows["no retry"]) == "Failed"
    assert len(attempts(argo_bed, workflows["no retry"])) == 1


@pytest.mark.parametrize("fault", ["deleted", "evicted through the API", "preempted"])
def test_a_running_pod_that_goes_away_is_not_retried(argo_bed: Bed, workflows: dict[str, str], fault: str) -> None:
    """That is an error to Argo, not a failure, and OnFailure does not retry it: the run ends, whatever the limit."""
    assert phase(argo_bed, workflows[fault]) == "Error"
    assert [(node["phase"], node["message"]) for node in attempts(argo_bed, workflows[fault])] == [
        ("Error", "pod deleted")
    ]


def test_a_pod_that_goes_away_before_it_was_seen_to_run_is_made_again(argo_bed: Bed) -> None:
    """It counts as no attempt."""
    workflow = start(argo_bed, outcome="image-missing")
    wait_seen(argo_bed, workflow, "Pending")
    uid = ["get", "pods", "-n", NAMESPACE, f"-lworkflows.argoproj.io/workflow={workflow}", "-o=jsonpath={..uid}"]
    wait_for("its pod is there", lambda: argo_bed.kubectl(*uid), SECONDS)
    first = argo_bed.kubectl(*uid)
    argo_bed.kubectl("delete", "pod", "-n", NAMESPACE, pod_of(argo_bed, workflow))
    wait_for("another pod is there", lambda: argo_bed.kubectl(*uid) not in {"", first}, SECONDS)
    assert [node["phase"] for node in attempts(argo_bed, workflow)] == ["Pending"]
