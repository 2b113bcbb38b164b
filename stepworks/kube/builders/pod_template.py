"""Applying a placement to a pod template: what a Job, a TrainJob or an InferenceService makes its pods from."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from stepworks.errors import ConfigurationError
from stepworks.placement.placement import QUEUE_LABEL, Placement
from stepworks.placement.resources import Range
from stepworks.placement.scheduling import node_term_object, toleration_object
from stepworks.placement.storage import SHARED_MEMORY_PATH, SHARED_MEMORY_VOLUME, ConfigMapSource, Mount, SecretSource
from stepworks.placement.volumes import refuse_clash


@dataclass(frozen=True)
class OwnerSettings:
    """What a placement says to the object that owns the pods, and not to the pods.

    Attributes:
        labels: Labels of the owner: Kueue admits a Job, a TrainJob or an InferenceService as a whole, by its label.
        backoff_limit: How many failed pods a Job replaces. The waits between them are Kubernetes' own.
    """

    labels: Mapping[str, str]
    backoff_limit: int


def owner_settings(placement: Placement) -> OwnerSettings:
    """Say what the owner of a placement's pods is to be given."""
    labels = {QUEUE_LABEL: placement.queue} if placement.queue else {}
    return OwnerSettings(labels, placement.retry.count if placement.retry else 0)


def placed_pod_template(
    template: Mapping[str, Any], placement: Placement, mounts: Iterable[Mount] = (), *, container: str
) -> dict[str, Any]:
    """Return a pod template with everything that a placement says of a pod.

    Three fields speak of something else, and are not in it: `retry` (and, for a whole job, `queue`) is the
    owner's, see `owner_settings`; `cache` is that of Kubeflow Pipelines, which a pod does not have; `preemptible`
    says something of the nodes that the selector and the tolerations name.

    Args:
        template: A Kubernetes PodTemplateSpec in its JSON form; it is not changed.
        placement: Where the pod runs and with what.
        mounts: The claims that the container gets.
        container: The name of the container that does the work; it gets the resources, the mounts and the variables.

    Returns:
        A new PodTemplateSpec.

    Raises:
        ConfigurationError: There is no such container, the template says something else already than the
            placement, two volumes clash, or the placement is one for Vertex AI.
    """
    mounts = list(mounts)
    refuse_clash(placement.volumes, mounts)
    if placement.vertex:
        raise ConfigurationError(
            "A pod template cannot express the placement's vertex",
            received=f"vertex: {placement.vertex.machine_type}",
            expected="a placement of a Kubernetes cluster",
            what_to_do="Name the placement of a target with the backend kubeflow.",
        )
    placed = copy.deepcopy(dict(template))
    spec = placed.setdefault("spec", {})
    worker = _find_container(spec, container)
    _put_metadata(placed, placement)
    _put_scheduling(spec, placement)
    _put_resources(worker, placement)
    _put_volumes(spec, worker, placement, mounts)
    _put_variables(worker, placement)
    return placed


def _find_container(spec: Mapping[str, Any], name: str) -> dict[str, Any]:
    containers: list[dict[str, Any]] = spec.get("containers", [])
    for each in containers:
        if each.get("name") == name:
            return each
    raise ConfigurationError(
        f"The pod template has no container {name}",
        received=", ".join(str(each.get("name")) for each in containers) or "no container",
        expected=name,
        what_to_do="Name the container that does the work.",
    )


def _put_metadata(placed: dict[str, Any], placement: Placement) -> None:
    labels = {**placement.labels, **({QUEUE_LABEL: placement.queue} if placement.queue else {})}
    for kind, values in (("labels", labels), ("annotations", placement.pod_annotations)):
        if values:
            _put_all(placed.setdefault("metadata", {}).setdefault(kind, {}), values, f"metadata.{kind}")


def _put_scheduling(spec: dict[str, Any], placement: Placement) -> None:
    if placement.node_selector:
        _put_all(spec.setdefault("nodeSelector", {}), placement.node_selector, "spec.nodeSelector")
    for toleration in map(toleration_object, placement.tolerations):
        present = spec.setdefault("tolerations", [])
        if toleration not in present:
            present.append(toleration)
    _put_affinity(spec, placement)
    single = {
        "serviceAccountName": placement.service_account,
        "priorityClassName": placement.priority_class,
        "activeDeadlineSeconds": placement.timeout_seconds,
    }
    _put_all(spec, {key: value for key, value in single.items() if value is not None}, "spec")
    for name in placement.image_pull_secrets:
        _put_named(spec.setdefault("imagePullSecrets", []), {"name": name}, "name", "spec.imagePullSecrets")


def _put_affinity(spec: dict[str, Any], placement: Placement) -> None:
    affinity = placement.node_affinity
    if affinity.required:
        terms = {"nodeSelectorTerms": [node_term_object(term) for term in affinity.required]}
        node_affinity = spec.setdefault("affinity", {}).setdefault("nodeAffinity", {})
        where = "spec.affinity.nodeAffinity"
        _put_all(node_affinity, {"requiredDuringSchedulingIgnoredDuringExecution": terms}, where)
    if affinity.preferred:
        node_affinity = spec.setdefault("affinity", {}).setdefault("nodeAffinity", {})
        node_affinity.setdefault("preferredDuringSchedulingIgnoredDuringExecution", []).extend(
            {"weight": term.weight, "preference": node_term_object(term)} for term in affinity.preferred
        )


def _put_resources(worker: dict[str, Any], placement: Placement) -> None:
    ranges: dict[str, Range] = {"cpu": placement.cpu, "memory": placement.memory}
    if placement.ephemeral_storage:
        ranges["ephemeral-storage"] = placement.ephemeral_storage
    requests = {name: each.request for name, each in ranges.items()}
    limits = {name: each.limit for name, each in ranges.items()}
    if placement.accelerator:
        requests[placement.accelerator.resource] = limits[placement.accelerator.resource] = str(
            placement.accelerator.count
        )
    resources = worker.setdefault("resources", {})
    for kind, values in (("requests", requests), ("limits", limits)):
        _put_all(resources.setdefault(kind, {}), values, f"the container {worker['name']}: resources.{kind}")


def _put_volumes(spec: dict[str, Any], worker: dict[str, Any], placement: Placement, mounts: list[Mount]) -> None:
    for volume, mount in _volumes(placement, mounts):
        _put_named(spec.setdefault("volumes", []), volume, "name", "spec.volumes")
        where = f"the container {worker['name']}: volumeMounts"
        _put_named(worker.setdefault("volumeMounts", []), mount, "mountPath", where)


def _volumes(placement: Placement, mounts: list[Mount]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each volume of the pod with its mount in the container."""
    for mount in mounts:
        # A disk that many nodes read is attached read-only, which only the volume itself can say.
        read_only = {"readOnly": True} if mount.access_mode == "ReadOnlyMany" else {}
        yield (
            {"name": mount.claim, "persistentVolumeClaim": {"claimName": mount.claim, **read_only}},
            {
                "name": mount.claim,
                "mountPath": mount.mount_path,
                **({"subPath": mount.sub_path} if mount.sub_path else {}),
                **({"readOnly": True} if mount.read_only else {}),
            },
        )
    for secret in placement.secrets:
        if secret.mount_path:
            source = {"secret": {"secretName": secret.name, "optional": secret.optional}}
            yield {"name": secret.name, **source}, {"name": secret.name, "mountPath": secret.mount_path}
    for config_map in placement.config_maps:
        if config_map.mount_path:
            source = {"configMap": {"name": config_map.name, "optional": config_map.optional}}
            yield {"name": config_map.name, **source}, {"name": config_map.name, "mountPath": config_map.mount_path}
    if placement.shared_memory:
        yield (
            {
                "name": SHARED_MEMORY_VOLUME,
                "emptyDir": {"medium": "Memory", "sizeLimit": placement.shared_memory},
            },
            {"name": SHARED_MEMORY_VOLUME, "mountPath": SHARED_MEMORY_PATH},
        )


def _put_variables(worker: dict[str, Any], placement: Placement) -> None:
    variables = [{"name": name, "value": value} for name, value in placement.environment.items()]
    variables += _references(placement.secrets, "secretKeyRef")
    variables += _references(placement.config_maps, "configMapKeyRef")
    for variable in variables:
        _put_named(worker.setdefault("env", []), variable, "name", f"the container {worker['name']}: env")


def _references(sources: Iterable[SecretSource | ConfigMapSource], kind: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "valueFrom": {kind: {"name": each.name, "key": key, "optional": each.optional}}}
        for each in sources
        for key, name in each.env.items()
    ]


def _put_all(where: dict[str, Any], values: Mapping[str, Any], path: str) -> None:
    """Add values to a mapping of the template, none of which it may have otherwise."""
    for key, value in values.items():
        if where.setdefault(key, value) != value:
            raise _says_otherwise(f"{path}.{key}", where[key], value)


def _put_named(where: list[dict[str, Any]], value: dict[str, Any], key: str, path: str) -> None:
    """Add an entry to a list of the template whose entries have a name."""
    present = next((each for each in where if each.get(key) == value[key]), None)
    if present is None:
        where.append(value)
    elif present != value:
        raise _says_otherwise(f"{path}, {value[key]}", present, value)


def _says_otherwise(path: str, present: Any, value: Any) -> ConfigurationError:
    return ConfigurationError(
        f"The pod template and the placement disagree about {path}",
        received=f"{present!r} in the template, {value!r} in the placement",
        expected="one of them, or the same twice",
        what_to_do="Leave it out of the template, or change the placement.",
    )
