"""Facts of a Job `train` and its pods, as tests of the diagnosis make them."""

from dataclasses import replace
from typing import Any

from stepworks.kube.api.references import Reference
from stepworks.kube.diagnosis.facts import ContainerFacts, EventFacts, Facts, ObjectFacts, PodFacts
from stepworks.kube.diagnosis.finding import Finding

TRAIN = Reference("batch/v1", "Job", "train", "team")
JOB = ObjectFacts("Job", "train")
SHORT_OF_PODS = replace(JOB, lacks_pods=True)
C = "the container main of the pod train-a"


def ended(code: int, **changed: Any) -> ContainerFacts:
    made = ContainerFacts("main", state="terminated", exit_code=code, ended_reason="Error", ended_at="10:00:05")
    return replace(made, reason=changed.get("ended_reason", "Error"), **changed)


def pod(*containers: ContainerFacts, **changed: Any) -> PodFacts:
    phase = "Failed" if containers and containers[0].state == "terminated" else "Pending"
    return PodFacts(**({"name": "train-a", "phase": phase, "created": "10:00:00", "containers": containers} | changed))


def failed(*pods: PodFacts, **changed: Any) -> Facts:
    told = "Failed (BackoffLimitExceeded): Job has reached the specified backoff limit"
    made = Facts(TRAIN, ended=told, failed=True, chain=(replace(JOB, reasons=("BackoffLimitExceeded",)),), pods=pods)
    return replace(made, log="Traceback", **changed)


def stuck(*pods: PodFacts, **changed: Any) -> Facts:
    return Facts(TRAIN, **({"chain": (JOB,), "pods": pods} | changed))


def waiting(reason: str, message: str = "") -> PodFacts:
    return pod(ContainerFacts("main", state="waiting", reason=reason, message=message), node="gpu-1")


def refused(message: str) -> Facts:
    return stuck(
        chain=(SHORT_OF_PODS,), events=(EventFacts("Job train", "FailedCreate", f"Error creating: {message}"),)
    )


def short(finding: Finding) -> tuple[str, bool, str]:
    return finding.cause, finding.permanent, finding.problem


def disrupted(reason: str, message: str = "") -> PodFacts:
    return pod(phase="Failed", disruption=reason, disruption_message=message, disrupted_at="10:00:05")
