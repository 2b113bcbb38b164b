"""Whether the queues of Kueue that a pipeline names are there, and have room."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from stepworks.kube.api.commands import kubectl
from stepworks.kube.api.discovery import is_served
from stepworks.kube.kinds.manifests import Manifest, condition_line, conditions_of, status_of
from stepworks.kube.kinds.table import PROVIDERS
from stepworks.kube.preflight.amounts import Amounts, amount_text, parse_amount, parse_amounts, times, total
from stepworks.kube.preflight.needs import PodNeed
from stepworks.kube.preflight.report import Check, fine, missing, unknown, waits
from stepworks.kube.preflight.view import Unseen, View

_GROUP = "kueue.x-k8s.io"
_VERSIONS = (f"{_GROUP}/v1beta2", f"{_GROUP}/v1beta1")
"""The newest first: 0.15 and later serve both."""


def check_queues(view: View, pods: Sequence[PodNeed]) -> list[Check]:
    """See whether each queue exists and takes what its pods ask for."""
    names = sorted({pod.queue for pod in pods if pod.queue})
    if not names:
        return []
    version = next((each for each in _VERSIONS if is_served(view.cluster, each, "LocalQueue")), "")
    if not version:
        install = f"Have {PROVIDERS[_GROUP]} installed, or leave the queue out of the target."
        return [missing("queue", f"LocalQueue {name}", "the cluster has no Kueue", install) for name in names]
    return [_check(view, version, name, [pod for pod in pods if pod.queue == name]) for name in names]


def _check(view: View, version: str, name: str, pods: Sequence[PodNeed]) -> Check:
    subject = f"LocalQueue {name}"
    local = view.find(version, "LocalQueue", name)
    if isinstance(local, Unseen):
        return unknown("queue", subject, local.reason, "Let whoever checks get localqueues.")
    if local is None:
        told = f"it is not in the namespace {view.cluster.namespace}, and what names it waits for ever"
        return missing("queue", subject, told, "Create it, as cluster/kueue does, or correct its name in the target.")
    return _check_behind(view, version, subject, local, pods)


def _check_behind(view: View, version: str, subject: str, local: Manifest, pods: Sequence[PodNeed]) -> Check:
    behind = (local.get("spec") or {}).get("clusterQueue") or ""
    queue = view.find(version, "ClusterQueue", behind)
    if isinstance(queue, Unseen):
        return unknown("queue", subject, queue.reason, "Let whoever checks get clusterqueues.")
    if queue is None:
        return missing("queue", subject, f"its ClusterQueue {behind} is not there", "Create it, as cluster/kueue does.")
    for each, what in ((local, "it"), (queue, f"its ClusterQueue {behind}")):
        active = conditions_of(each).get("Active")
        if active and active.get("status") != "True":
            see = f"See {kubectl('describe', 'clusterqueue', behind)}"
            return missing("queue", subject, f"{what} admits nothing: {condition_line(active)}", see)
    if queue["spec"].get("namespaceSelector") is None:
        told = f"its ClusterQueue {behind} has no namespaceSelector, and so admits nothing of any namespace"
        return missing("queue", subject, told, "Give it one; an empty one, {}, is for all namespaces.")
    return _check_room(subject, behind, queue, pods)


def _check_room(subject: str, behind: str, queue: Manifest, pods: Sequence[PodNeed]) -> Check:
    quota, borrowable = _quota(queue)
    largest = _largest(queue)
    used = total(_reserved(queue))
    cohort = queue["spec"].get("cohort") or queue["spec"].get("cohortName")
    too_much, taken = [], []
    for pod in pods:
        # Of a Job Kueue admits all pods at once; each trial of a search is admitted by itself.
        number = pod.at_once if pod.maker == "Job" else pod.together
        for name, amount in times(parse_amounts(pod.requests), number).items():
            if name not in quota:
                continue
            # Without a limit of its own a queue borrows what its cohort has.
            most = quota[name] + borrowable.get(name, Decimal(0))
            in_one = largest[name]
            asked = f"{pod.who} asks for {amount_text(name, amount)} {name}"
            if amount > in_one and not (cohort and name not in borrowable):
                one = "" if in_one == most else " in one flavor, and pods that belong together get one"
                too_much.append(f"{asked}, and the queue has {amount_text(name, in_one)}{one}")
            elif amount > most - used.get(name, Decimal(0)):
                left = max(most - used.get(name, Decimal(0)), Decimal(0))
                taken.append(f"{asked}, and {amount_text(name, left)} of {amount_text(name, most)} is left")
    if too_much:
        return missing("queue", subject, "; ".join(too_much), f"Ask for less, or have the quota of {behind} raised.")
    lacking = {name for pod in pods for name in pod.requests} - set(quota)
    if lacking and quota:
        names = ", ".join(sorted(lacking))
        told = (
            f"its ClusterQueue {behind} covers no {names}, which keeps out what asks for it unless Kueue passes it over"
        )
        return unknown("queue", subject, told, f"Add {names} to coveredResources, or see excludeResourcePrefixes.")
    if taken:
        see = f"Wait until others end; see {kubectl('get', 'workloads')}"
        return waits("queue", subject, "; ".join(taken), see)
    return fine("queue", subject, f"the ClusterQueue {behind} has room")


def _flavors(queue: Manifest) -> Iterator[Mapping[str, Any]]:
    for group in queue["spec"].get("resourceGroups") or []:
        for flavor in group.get("flavors") or []:
            yield from flavor.get("resources") or []


def _quota(queue: Manifest) -> tuple[Amounts, Amounts]:
    """What a queue has of each resource, and what it may borrow besides where that is limited."""
    resources = list(_flavors(queue))
    quota = total({each["name"]: parse_amount(each["nominalQuota"])} for each in resources)
    limited = [each for each in resources if each.get("borrowingLimit") is not None]
    return quota, total({each["name"]: parse_amount(each["borrowingLimit"])} for each in limited)


def _largest(queue: Manifest) -> Amounts:
    """What the flavor has of each resource that has most of it, what it may borrow included."""
    largest: Amounts = {}
    for each in _flavors(queue):
        most = parse_amount(each["nominalQuota"]) + parse_amount(each.get("borrowingLimit") or 0)
        largest[each["name"]] = max(most, largest.get(each["name"], most))
    return largest


def _reserved(queue: Manifest) -> Iterable[Amounts]:
    for flavor in status_of(queue).get("flavorsReservation") or []:
        for each in flavor.get("resources") or []:
            yield {each["name"]: parse_amount(each.get("total") or 0)}
