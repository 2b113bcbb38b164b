"""Whether the quotas of a namespace allow what a pipeline asks for at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from stepworks.kube.api.commands import kubectl
from stepworks.kube.kinds.manifests import Manifest, status_of
from stepworks.kube.preflight.amounts import Amounts, amount_text, parse_amounts, times, total
from stepworks.kube.preflight.needs import STAYING, Needs, PodClass, PodNeed
from stepworks.kube.preflight.report import Check, fine, missing, unknown, waits
from stepworks.kube.preflight.view import Unseen, View

_SHORT = {"cpu": "requests.cpu", "memory": "requests.memory", "count/pods": "pods"}
"""Other names of a quota for the same."""
_KNOWN_SCOPES = ("Terminating", "NotTerminating", "NotBestEffort", "PriorityClass")


def check_quotas(view: View, needs: Needs, pods: Sequence[PodNeed], counts: Mapping[str, int]) -> list[Check]:
    """See whether each ResourceQuota allows what the pipeline asks for.

    Args:
        view: The cluster.
        needs: What the pipeline needs.
        pods: All pods, those that its tasks make included.
        counts: How many objects it makes, as a quota counts them: `count/jobs.batch`.
    """
    quotas = view.quotas
    if isinstance(quotas, Unseen):
        return [unknown("quota", view.cluster.namespace, quotas.reason, "Let whoever checks list resourcequotas.")]
    if not quotas:
        return [fine("quota", view.cluster.namespace, "the namespace has no ResourceQuota")]
    return [_check(view, quota, needs, pods, counts) for quota in quotas]


def asked_by_quota(pod: PodNeed) -> Amounts:
    """What one pod asks for, in the words of a quota."""
    told: dict[str, Decimal] = {"pods": Decimal(1)}
    for kind, values in (("requests", pod.requests), ("limits", pod.limits)):
        told |= {f"{kind}.{name}": amount for name, amount in parse_amounts(values).items()}
    return told


def _check(view: View, quota: Manifest, needs: Needs, pods: Sequence[PodNeed], counts: Mapping[str, int]) -> Check:
    name = quota["metadata"]["name"]
    scopes = _scopes(quota)
    if any(each["scopeName"] not in _KNOWN_SCOPES for each in scopes):
        scope = ", ".join(each["scopeName"] for each in scopes)
        return unknown("quota", name, f"its scope {scope} is not understood", "See that it has room for the pods.")
    hard = _amounts(quota.get("spec", {}).get("hard") or {})
    used = _amounts(status_of(quota).get("used") or {})
    meant = [pod for pod in pods if _matches(scopes, pod.pod_class)]
    groups = [(pod, times(asked_by_quota(pod), pod.together)) for pod in meant]
    staying = [times(asked_by_quota(pod), pod.at_once) for pod in meant if pod.maker in STAYING]
    peak = total([_peak(needs, pods, scopes), *staying])
    peak |= {} if scopes else {key: Decimal(number) for key, number in counts.items()}
    describe = kubectl("describe", "resourcequota", name, namespace=view.cluster.namespace)
    too_much = [
        f"{pod.who} asks for {_text(key, amount)}, and the quota is {_text(key, hard[key])}"
        for pod, asked in groups
        for key, amount in asked.items()
        if key in hard and amount > hard[key]
    ]
    if too_much:
        return missing("quota", name, "; ".join(too_much), f"Ask for less, or have the quota raised: {describe}")
    left = {key: hard[key] - used.get(key, Decimal(0)) for key in hard}
    short = [key for key, amount in peak.items() if key in left and amount > left[key]]
    if short:
        told = "; ".join(
            f"up to {_text(key, peak[key])} at once, and {amount_text(key, max(left[key], Decimal(0)))} of "
            f"{amount_text(key, hard[key])} is left"
            for key in short
        )
        return waits("quota", name, told, f"Wait until others end, or have the quota raised: {describe}")
    counted = [f"{amount_text(key, peak[key])} of {_text(key, left[key])}" for key in peak if key in left]
    told = f"of what is left, it takes {', '.join(counted)}"
    return fine("quota", name, told if counted else "it limits nothing that the pipeline asks for")


def _text(key: str, amount: Decimal) -> str:
    return f"{amount_text(key, amount)} {key}"


def _amounts(texts: Mapping[str, Any]) -> Amounts:
    amounts: Amounts = {}
    for key, amount in parse_amounts(texts).items():
        name = _SHORT.get(key, key)
        amounts[name] = min(amount, amounts.get(name, amount))
    return amounts


def _scopes(quota: Manifest) -> list[Mapping[str, Any]]:
    spec = quota.get("spec") or {}
    stated = [{"scopeName": each, "operator": "Exists"} for each in spec.get("scopes") or []]
    return [*stated, *((spec.get("scopeSelector") or {}).get("matchExpressions") or [])]


def _peak(needs: Needs, pods: Iterable[PodNeed], scopes: Sequence[Mapping[str, Any]]) -> Amounts:
    """The most that is asked for at once by the pods of some scopes; of several classes the sum, which may be more."""
    if needs.peaks and scopes:
        return total(parse_amounts(each.amounts) for each in needs.peaks if _matches(scopes, each))
    classes = {pod.pod_class for pod in pods if pod.maker not in STAYING}
    return parse_amounts(needs.peak) if all(_matches(scopes, each) for each in classes) else {}


def _matches(scopes: Iterable[Mapping[str, Any]], pods: PodClass) -> bool:
    return all(_in_scope(each, pods) for each in scopes)


def _in_scope(scope: Mapping[str, Any], pods: PodClass) -> bool:
    name, operator = str(scope["scopeName"]), str(scope.get("operator", "Exists"))
    values: Sequence[str] = scope.get("values") or []
    if name == "Terminating":
        return not pods.endless
    if name == "NotTerminating":
        return pods.endless
    if name == "NotBestEffort":
        return True
    if operator in ("In", "NotIn"):
        return (pods.priority_class in values) == (operator == "In")
    return bool(pods.priority_class) == (operator == "Exists")
