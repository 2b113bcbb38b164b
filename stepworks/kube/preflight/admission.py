"""Whether the API server takes the very objects: each is sent as a dry run, which stores nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from stepworks.errors import AccessDeniedError, AdmissionError, AlreadyExistsError, ClusterError, NotFoundError
from stepworks.kube.api.objects import create
from stepworks.kube.kinds.manifests import Manifest
from stepworks.kube.preflight.amounts import parse_amount
from stepworks.kube.preflight.needs import PodNeed
from stepworks.kube.preflight.report import Check, State, fine, missing, unknown, waits
from stepworks.kube.preflight.view import View, denial
from stepworks.placement.placement import PRIORITY_CLASS_LABEL, QUEUE_LABEL

NAME = "stepworks-preflight"
_NO_DRY_RUN = "does not support dry run"
_BY_POLICY = re.compile(r"denied the request|denied request|violates PodSecurity|ValidatingAdmissionPolicy")
_QUOTA = re.compile(r"exceeded quota: [^,]+, requested: (?P<asked>.*), used: .*, limited: (?P<limited>[^\s]*)")
STAND_IN_IMAGE = "registry.example.com/stepworks/preflight:1"
"""Stands for an image that is not known, in what is sent as a dry run."""
_DROPPED = (
    "Apply cluster/cluster-wide, whose policy gives such pods their class, or leave priority_class out of the target."
)


def check_objects(view: View, objects: Iterable[tuple[str, Manifest]]) -> list[Check]:
    """See whether the API server takes each object that a step makes; a kind that it does not know is told elsewhere.

    Args:
        view: The cluster.
        objects: The objects, each with its step.
    """
    checks = []
    for step, manifest in objects:
        found = _send(view, f"{manifest['kind']} of {step}", manifest)
        checks += [found] if isinstance(found, Check) else []
    return checks


def check_pods(view: View, pods: Sequence[PodNeed], service_account: str) -> list[Check]:
    """See whether the API server takes the pods: by their ServiceAccount, class, limits and the cluster's policies.

    A quota that is used up is told elsewhere. Where a pod has its priority class by a label, what comes back says
    whether the label has an effect.
    """
    checks = []
    for pod in pods:
        subject = f"pod of {pod.who}"
        account = pod.service_account or ("" if pod.maker else service_account)
        if account and view.find("v1", "ServiceAccount", account) is None:
            continue  # that is told elsewhere, and all of its pods are refused for it
        if pod.later:
            continue  # what the run gives it is told with the nodes
        found = _send(view, subject, build_pod(pod, account))
        if isinstance(found, Check):
            checks.append(_of_a_stand_in(found))
        elif found is None:
            continue
        elif pod.priority_class and found["spec"].get("priorityClassName") != pod.priority_class:
            given = found["spec"].get("priorityClassName") or "none"
            told = f"the placement asks for the priority class {pod.priority_class}, and the pod gets {given}"
            checks.append(missing("admission", subject, told, _DROPPED))
        else:
            checks.append(fine("admission", subject, "the API server takes it"))
    return checks


def build_pod(need: PodNeed, service_account: str) -> Manifest:
    """A pod of a shape: what it asks for, as the cluster sees it, without what it runs.

    Args:
        need: The shape.
        service_account: Its ServiceAccount; empty for the namespace's default one.
    """
    # Kubeflow has no field for the priority class of a task's pod, which has a label in its place.
    by_label = not need.maker
    labels = {QUEUE_LABEL: need.queue} if need.queue else {}
    if need.priority_class and by_label:
        labels[PRIORITY_CLASS_LABEL] = need.priority_class
    volumes = [
        {"name": f"claim-{number}", "persistentVolumeClaim": {"claimName": claim}}
        for number, claim in enumerate(need.claims)
    ]
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "serviceAccountName": service_account or "default",
        "nodeSelector": need.node_selector,
        "tolerations": list(need.tolerations),
        "imagePullSecrets": [{"name": name} for name in need.image_pull_secrets],
        "containers": [
            {"name": "main", "image": STAND_IN_IMAGE, "resources": {"requests": need.requests, "limits": need.limits}}
        ],
        "volumes": volumes,
    }
    if need.node_terms:
        terms = {"nodeSelectorTerms": list(need.node_terms)}
        spec["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
    if need.priority_class and not by_label:
        spec["priorityClassName"] = need.priority_class
    if not need.endless:
        spec["activeDeadlineSeconds"] = 3600
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": NAME, "labels": labels}, "spec": spec}


def _of_a_stand_in(check: Check) -> Check:
    """A refusal of a pod: a policy may judge its image, its labels or its security, which are not the real ones.

    What is wrong with its resources, its ServiceAccount or its class is wrong with the real one, too.
    """
    if check.state != State.MISSING or not _BY_POLICY.search(check.told):
        return check
    told = f"a policy refuses a pod like it, with another image and without its labels: {check.told}"
    return unknown(check.topic, check.subject, told, check.what_to_do)


def _send(view: View, subject: str, manifest: Manifest) -> Manifest | Check | None:
    """Send an object; None where the cluster does not know its kind or its namespace, which is told elsewhere."""
    try:
        return create(view.cluster, manifest, dry_run=True)
    except NotFoundError:
        return None
    except ClusterError as error:
        return _refused(subject, error)


def _refused(subject: str, error: ClusterError) -> Check:
    if isinstance(error, AlreadyExistsError):
        return fine("admission", subject, "there is one of that name already")
    if isinstance(error, AccessDeniedError):
        return unknown("admission", subject, denial(error), "Let whoever checks create it, which a dry run asks for.")
    if quota := _QUOTA.search(error.received):
        return _beyond_quota(subject, quota, error)
    if isinstance(error, AdmissionError) and _NO_DRY_RUN not in error.received:
        return missing("admission", subject, error.received, error.what_to_do)
    if getattr(error.__cause__, "status", None) is None:  # there was no answer at all
        raise error
    return unknown("admission", subject, error.received, error.what_to_do)


def _beyond_quota(subject: str, quota: re.Match[str], error: ClusterError) -> Check:
    """A quota that has no room: for good where it is smaller than the object alone."""
    asked, limited = (
        dict(each.split("=", 1) for each in quota[name].split(",") if "=" in each) for name in _QUOTA.groupindex
    )
    if any(name in limited and parse_amount(amount) > parse_amount(limited[name]) for name, amount in asked.items()):
        return missing("admission", subject, error.received, "Ask for less, or have the quota raised.")
    return waits("admission", subject, error.received, "It waits until others end, or until the quota is raised.")
