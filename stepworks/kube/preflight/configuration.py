"""Whether the namespace has what pods name: ServiceAccounts, Secrets, ConfigMaps with their keys, priority classes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from stepworks.kube.preflight.needs import PodNeed
from stepworks.kube.preflight.report import Check, State, fine, missing, unknown
from stepworks.kube.preflight.view import Unseen, View

_SET_UP = "Correct the name, or set it up: kubectl apply -k cluster/overlays/a100, or one of yours (docs/cluster.md)."


def check_namespace(view: View) -> Check:
    """See whether the namespace exists, and is not on its way out."""
    name = view.cluster.namespace
    found = view.find("v1", "Namespace", name)
    subject = f"Namespace {name}"
    if isinstance(found, Unseen):
        return unknown("namespace", subject, found.reason, "Let whoever checks get namespaces.")
    if found is None:
        return missing("namespace", subject, "it is not there", _SET_UP)
    if found["metadata"].get("deletionTimestamp"):
        return missing("namespace", subject, "it is being deleted", "Wait until it is gone, and set it up anew.")
    return fine("namespace", subject, "it is there")


def check_service_accounts(view: View, run: str, pods: Sequence[PodNeed]) -> list[Check]:
    """See whether the ServiceAccounts exist: the run's, and those that placements name."""
    wanted = {pod.service_account for pod in pods if pod.service_account}
    checks = [_named(view, "ServiceAccount", name) for name in sorted({run, *wanted} - {""})]
    hint = "Create it, or name that of the run by --service-account; in a Profile of Kubeflow it is default-editor."
    return [replace(each, what_to_do=hint) if each.state == State.MISSING else each for each in checks]


def check_priority_classes(view: View, pods: Sequence[PodNeed]) -> list[Check]:
    """See whether the priority classes exist."""
    names = sorted({pod.priority_class for pod in pods if pod.priority_class})
    classes = view.priority_classes if names else {}
    if isinstance(classes, Unseen):
        return [
            unknown("priority", f"PriorityClass {name}", classes.reason, "Let whoever checks list priorityclasses.")
            for name in names
        ]
    return [
        fine("priority", f"PriorityClass {name}", f"its value is {classes[name].value}")
        if name in classes
        else missing(
            "priority",
            f"PriorityClass {name}",
            "it is not there, and pods that name it are refused",
            "Create it, as cluster/cluster-wide does, or leave priority_class out of the target.",
        )
        for name in names
    ]


def check_configuration(view: View, pods: Sequence[PodNeed]) -> list[Check]:
    """See whether the Secrets and ConfigMaps exist, with the keys that are read."""
    secrets = _merged(pod.secrets for pod in pods)
    maps = _merged(pod.config_maps for pod in pods)
    wanted = [("Secret", name, keys) for name, keys in sorted(secrets.items())]
    wanted += [("ConfigMap", name, keys) for name, keys in sorted(maps.items())]
    pulling = sorted({name for pod in pods for name in pod.image_pull_secrets} - set(secrets))
    unnamed = [
        unknown("configuration", pod.who, f"only the run knows the name of its {what}")
        for pod in pods
        for what in pod.unnamed
    ]
    return [
        *(_with_keys(view, kind, name, sorted(keys)) for kind, name, keys in wanted),
        *(_for_pulling(view, name) for name in pulling),
        *unnamed,
    ]


def _for_pulling(view: View, name: str) -> Check:
    """A pod starts without such a Secret, where its node may pull the image, too."""
    check = _named(view, "Secret", name)
    if check.state != State.MISSING:
        return check
    told = f"{check.told}; without it only images that the nodes may pull by themselves are pulled"
    return unknown(check.topic, check.subject, told, check.what_to_do)


def _merged(many: Iterable[Mapping[str, Sequence[str]]]) -> dict[str, set[str]]:
    merged: dict[str, set[str]] = {}
    for each in many:
        for name, keys in each.items():
            merged.setdefault(name, set()).update(keys)
    return merged


def _named(view: View, kind: str, name: str) -> Check:
    found = view.find("v1", kind, name)
    topic, subject = _topic(kind), f"{kind} {name}"
    if isinstance(found, Unseen):
        return unknown(topic, subject, found.reason, f"Let whoever checks get {kind.lower()}s.")
    if found is None:
        return missing(
            topic, subject, f"it is not in the namespace {view.cluster.namespace}", "Create it, or correct its name."
        )
    return fine(topic, subject, "it is there")


def _with_keys(view: View, kind: str, name: str, keys: Sequence[str]) -> Check:
    check = _named(view, kind, name)
    found = view.find("v1", kind, name)
    if found is None or isinstance(found, Unseen):
        return check
    present = {**(found.get("data") or {}), **(found.get("binaryData") or {})}
    lacking = list(_lacking(keys, present))
    if lacking:
        told = f"it has no key {', '.join(lacking)}; it has {', '.join(sorted(present)) or 'none'}"
        return missing(check.topic, check.subject, told, f"Add the key to the {kind}, or correct it in the target.")
    return fine(check.topic, check.subject, f"it has {', '.join(keys)}") if keys else check


def _lacking(keys: Iterable[str], present: Mapping[str, str]) -> Iterator[str]:
    return (key for key in keys if key not in present)


def _topic(kind: str) -> str:
    return "service account" if kind == "ServiceAccount" else "configuration"
