"""Rules by exact comparison: what an object says, and what that means."""

from typing import Any

import pytest

from stepworks.kube.kinds import rules
from stepworks.kube.kinds.judgement import Failed, Judgement, Pending, Rule, Succeeded
from stepworks.kube.kinds.manifests import Manifest
from stepworks.kube.kinds.rules import InferenceServiceReady, RolledOut


def with_conditions(*conditions: tuple[str, str, str, str], **status: Any) -> Manifest:
    keys = ("type", "status", "reason", "message")
    return {
        "metadata": {"generation": 1},
        "status": {"conditions": [dict(zip(keys, each, strict=True)) for each in conditions], **status},
    }


NEW: Manifest = {"metadata": {"generation": 1}}
SUSPENDED = with_conditions(("Suspended", "True", "JobSuspended", ""))
RUNNING = with_conditions(("Created", "True", "", ""), ("Running", "True", "JobRunning", "it runs"))
JOB_FAILED = with_conditions(("Failed", "True", "BackoffLimitExceeded", "too many failures"))
FAILED = Failed("Failed (BackoffLimitExceeded): too many failures")


def ended(condition: str) -> Manifest:
    return with_conditions((condition, "True", "Done", ""))


@pytest.mark.parametrize(
    ("rule", "success"),
    [
        (rules.JOB_COMPLETE, "Complete"),
        (rules.TRAIN_JOB_COMPLETE, "Complete"),
        (rules.JOB_SET_COMPLETE, "Completed"),
        (rules.TRAINING_OPERATOR_JOB_SUCCEEDED, "Succeeded"),
    ],
)
def test_jobs(rule: Rule, success: str) -> None:
    assert rule.judge(NEW) == Pending(f"no condition {success} yet")
    assert rule.judge(SUSPENDED) == Pending("Suspended (JobSuspended)")
    assert rule.judge(RUNNING) == Pending("Created; Running (JobRunning): it runs")
    assert rule.judge(JOB_FAILED) == FAILED
    assert rule.judge(ended(success)) == Succeeded(f"{success} (Done)")
    assert rule.judge(with_conditions((success, "False", "", ""))) == Pending(f"no condition {success} yet")
    both = with_conditions((success, "True", "", ""), ("Failed", "True", "BackoffLimitExceeded", "too many failures"))
    assert rule.judge(both) == FAILED


def test_a_job_that_is_about_to_fail_is_pending() -> None:
    target = with_conditions(("FailureTarget", "True", "PodFailurePolicy", ""))
    assert rules.JOB_COMPLETE.judge(target) == Pending("FailureTarget (PodFailurePolicy)")


@pytest.mark.parametrize(
    ("rule", "status", "judgement"),
    [
        (rules.POD_SUCCEEDED, {}, Pending("no phase yet")),
        (rules.POD_SUCCEEDED, {"phase": "Running"}, Pending("Running")),
        (rules.POD_SUCCEEDED, {"phase": "Succeeded"}, Succeeded("Succeeded")),
        (
            rules.POD_SUCCEEDED,
            {"phase": "Failed", "reason": "Evicted", "message": "low on memory"},
            Failed("Failed: Evicted: low on memory"),
        ),
        (rules.CLAIM_BOUND, {"phase": "Pending"}, Pending("Pending")),
        (rules.CLAIM_BOUND, {"phase": "Bound"}, Succeeded("Bound")),
        (rules.CLAIM_BOUND, {"phase": "Lost"}, Failed("Lost")),
        (rules.POD_READY, {}, Pending("no status yet")),
        (rules.POD_READY, {"phase": "Succeeded"}, Failed("the pod ended: Succeeded")),
        (rules.POD_READY, {"phase": "Failed", "reason": "Evicted"}, Failed("the pod ended: Failed: Evicted")),
    ],
)
def test_phases(rule: Rule, status: dict[str, Any], judgement: Judgement) -> None:
    assert rule.judge({"metadata": {}, "status": status}) == judgement


def test_a_pod_is_ready_by_its_condition() -> None:
    waits = with_conditions(("PodScheduled", "False", "Unschedulable", "no GPU"), phase="Pending")
    assert rules.POD_READY.judge(waits) == Pending("PodScheduled is False (Unschedulable): no GPU")
    assert rules.POD_READY.judge(with_conditions(("Ready", "True", "", ""), phase="Running")) == Succeeded("Ready")


def deployment(generation: int = 2, replicas: int | None = 2, **status: Any) -> Manifest:
    counts = {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}
    return {
        "metadata": {"generation": generation},
        "spec": {
            **({} if replicas is None else {"replicas": replicas}),
            "template": {"metadata": {"annotations": {"revision": "b"}}},
        },
        "status": counts | status,
    }


@pytest.mark.parametrize(
    ("manifest", "judgement"),
    [
        (deployment(), Succeeded("2 replicas are available")),
        (deployment(generation=3), Pending("its controller has not seen the new spec")),
        (deployment(replicas=3), Pending("of 3 replicas 2 updated, 2 available")),
        (deployment(replicas=None), Pending("of 1 replicas 2 updated, 2 available")),
        (deployment(updatedReplicas=1), Pending("of 2 replicas 1 updated, 2 available")),
        (
            deployment(replicas=0, updatedReplicas=0, availableReplicas=0),
            Pending("of 0 replicas 0 updated, 0 available"),
        ),
        (
            deployment(
                availableReplicas=1,
                conditions=[
                    {"type": "Available", "status": "True"},
                    {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"},
                    {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota"},
                ],
            ),
            Pending(
                "of 2 replicas 2 updated, 1 available; Progressing is False (ProgressDeadlineExceeded); "
                "ReplicaFailure (FailedCreate): exceeded quota"
            ),
        ),
        ({"metadata": {"generation": 1}}, Pending("its controller has not seen the new spec")),
    ],
)
def test_deployments(manifest: Manifest, judgement: Judgement) -> None:
    assert rules.DEPLOYMENT_ROLLED_OUT.judge(manifest) == judgement


def test_a_deployment_of_before_the_change_is_not_rolled_out() -> None:
    assert RolledOut({"revision": "b"}).judge(deployment()) == Succeeded("2 replicas are available")
    assert RolledOut({"revision": "c"}).judge(deployment()) == Pending("its pod template is still the one from before")


def service(
    generation: int = 1,
    ready: str = "True",
    created: str = "",
    serves: str = "",
    transition: str = "",
    failure: str = "",
) -> Manifest:
    revisions = {"latestCreatedRevision": created, "latestReadyRevision": serves}
    model = {"transitionStatus": transition, "lastFailureInfo": {"reason": "ModelLoadFailed", "message": failure}}
    manifest = with_conditions(
        ("PredictorReady", ready, "", ""),
        ("Ready", ready, "", ""),
        ("Stopped", "False", "", ""),
        components={"predictor": {key: value for key, value in revisions.items() if value}},
        modelStatus=model if transition else {},
    )
    return {**manifest, "metadata": {"generation": generation}}


BLOCKED = service(1, "False", transition="BlockedByFailedLoad", failure="no such file")


@pytest.mark.parametrize(
    ("before", "manifest", "judgement"),
    [
        (None, NEW, Pending("no condition Ready yet")),
        (None, service(), Succeeded("Ready")),
        (None, service(ready="Unknown"), Pending("PredictorReady is Unknown; Ready is Unknown")),
        (None, BLOCKED, Failed("BlockedByFailedLoad: ModelLoadFailed: no such file")),
        (None, service(created="b", serves="a"), Pending("its newest revision b is not ready; a serves")),
        (None, service(created="b"), Pending("its newest revision b is not ready; no other serves")),
        (None, service(created="b", serves="b"), Succeeded("Ready")),
        (
            service(1, created="a", serves="a"),
            service(2, created="a", serves="a"),
            Pending("its newest revision is still a, from before"),
        ),
        (service(1, created="a", serves="a"), service(1, created="a", serves="a"), Succeeded("Ready")),
        (service(1, created="a", serves="a"), service(2, created="b", serves="b"), Succeeded("Ready")),
        (BLOCKED, {**BLOCKED, "metadata": {"generation": 2}}, Pending("PredictorReady is False; Ready is False")),
        (None, with_conditions(("Stopped", "True", "", ""), ("Ready", "False", "Stopped", "")), Failed("Stopped")),
    ],
)
def test_inference_services(before: Manifest | None, manifest: Manifest, judgement: Judgement) -> None:
    assert InferenceServiceReady(before).judge(manifest) == judgement


def test_gone() -> None:
    deleted = {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}
    kept = {"metadata": {**deleted["metadata"], "finalizers": ["example.com/a", "example.com/b"]}}
    assert rules.GONE.judge({"metadata": {}}) == Pending("nobody has deleted it")
    assert rules.GONE.judge(deleted) == Pending("it is being deleted")
    assert rules.GONE.judge(kept) == Pending("it is being deleted; its finalizers are example.com/a, example.com/b")
    assert rules.GONE.absence_succeeds
