"""A placement as KFP's settings of an executor on Kubernetes, in the JSON form of `KubernetesExecutorConfig`.

kfp's own setters (`kubernetes.add_toleration`, …) each turn what is there into a protobuf message and back, which
took most of the time to compile. A test holds what is written here against what they write.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from stepworks.errors import ConfigurationError
from stepworks.placement.placement import PRIORITY_CLASS_LABEL, QUEUE_LABEL, Placement
from stepworks.placement.scheduling import Toleration, node_term_object, toleration_object
from stepworks.placement.storage import SHARED_MEMORY_PATH, SHARED_MEMORY_VOLUME, ConfigMapSource, Mount, SecretSource

_NOT_EXPRESSED = {
    "ephemeral_storage": "Mount a claim, or have a LimitRange of the namespace set it.",
    "service_account": "Leave it out, and give it to the run: KFP takes one service account for all tasks of a run.",
    "vertex": "Leave it out: a target with the backend kubeflow has nodes, not Vertex machines.",
}


def executor_config(placement: Placement, mounts: Iterable[Mount] = ()) -> dict[str, Any]:
    """Build the settings of an executor; those that are empty are left out.

    CPU, memory, the accelerator, the retry and the cache are not among them: in KFP they belong to the task.

    Raises:
        ConfigurationError: KFP cannot express a field.
    """
    mounts = list(mounts)
    for field, advice in _NOT_EXPRESSED.items():
        if getattr(placement, field) is not None:
            raise _not_expressed(field, f"{getattr(placement, field)}", "a pod template or another backend", advice)
    for mount in mounts:
        _refuse_read_only(mount)
    settings = {
        "pvcMount": [_pvc_mount(mount) for mount in mounts],
        "nodeSelector": _given({"labels": placement.node_selector}),
        "nodeAffinity": _node_affinity(placement),
        "tolerations": [_toleration(each) for each in placement.tolerations],
        "emptyDirMounts": _shared_memory(placement),
        "secretAsEnv": [
            _secret(each) | {"keyToEnv": _variables(each, "secretKey")} for each in _as_env(placement.secrets)
        ],
        "secretAsVolume": [_secret(each) | {"mountPath": each.mount_path} for each in _as_files(placement.secrets)],
        "configMapAsEnv": [
            _config_map(each) | {"keyToEnv": _variables(each, "configMapKey")}
            for each in _as_env(placement.config_maps)
        ],
        "configMapAsVolume": [
            _config_map(each) | {"mountPath": each.mount_path} for each in _as_files(placement.config_maps)
        ],
        "imagePullSecret": [_named("secretName", name) for name in placement.image_pull_secrets],
        "podMetadata": _given({"labels": _labels(placement), "annotations": placement.pod_annotations}),
        "activeDeadlineSeconds": placement.timeout_seconds and str(placement.timeout_seconds),
    }
    return _given(settings)


def _not_expressed(field: str, received: str, expected: str, what_to_do: str) -> ConfigurationError:
    return ConfigurationError(
        f"A KFP task cannot express the placement's {field}",
        received=f"{field}: {received}",
        expected=expected,
        what_to_do=what_to_do,
    )


def _refuse_read_only(mount: Mount) -> None:
    if mount.read_only and mount.access_mode != "ReadOnlyMany":
        raise ConfigurationError(
            f"A KFP task cannot mount the claim {mount.claim} read-only",
            received=f"read_only: true, access_mode: {mount.access_mode}",
            expected="a ReadOnlyMany claim, since KFP's PvcMount has no field read_only",
            what_to_do="Make the claim ReadOnlyMany, or set read_only: false in the target's file.",
        )


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that say something."""
    return {name: value for name, value in values.items() if value}


def _constant(value: str) -> dict[str, Any]:
    return {"runtimeValue": {"constant": value}}


def _named(field: str, name: str) -> dict[str, Any]:
    """A name as KFP writes it: as itself for old backends, and as a parameter for newer ones."""
    return {field: name, f"{field}Parameter": _constant(name)}


def _pvc_mount(mount: Mount) -> dict[str, Any]:
    return {
        "constant": mount.claim,
        "pvcNameParameter": _constant(mount.claim),
        "mountPath": mount.mount_path,
        **_given({"subPath": mount.sub_path}),
    }


def _toleration(toleration: Toleration) -> dict[str, str]:
    """A toleration in KFP's form: its seconds are a text, and an empty value is left out."""
    return {name: str(value) for name, value in toleration_object(toleration).items() if value != ""}


def _node_affinity(placement: Placement) -> list[dict[str, Any]]:
    """KFP's terms: those with a weight are preferred, of the others a node must meet one."""
    affinity = placement.node_affinity
    return [node_term_object(term) for term in affinity.required] + [
        node_term_object(term) | {"weight": term.weight} for term in affinity.preferred
    ]


def _shared_memory(placement: Placement) -> list[dict[str, Any]]:
    if not placement.shared_memory:
        return []
    return [
        {
            "volumeName": SHARED_MEMORY_VOLUME,
            "mountPath": SHARED_MEMORY_PATH,
            "medium": "Memory",
            "sizeLimit": placement.shared_memory,
        }
    ]


def _as_env(sources: Iterable[Any]) -> list[Any]:
    return [each for each in sources if each.env]


def _as_files(sources: Iterable[Any]) -> list[Any]:
    return [each for each in sources if each.mount_path]


def _secret(source: SecretSource) -> dict[str, Any]:
    return _named("secretName", source.name) | {"optional": source.optional}


def _config_map(source: ConfigMapSource) -> dict[str, Any]:
    return _named("configMapName", source.name) | {"optional": source.optional}


def _variables(source: SecretSource | ConfigMapSource, key_field: str) -> list[dict[str, str]]:
    return [{key_field: key, "envVar": variable} for key, variable in source.env.items()]


def _labels(placement: Placement) -> dict[str, str]:
    """The pod's labels. KFP has no field for a priority class; the cluster turns the label into one."""
    return {
        **placement.labels,
        **_given({PRIORITY_CLASS_LABEL: placement.priority_class, QUEUE_LABEL: placement.queue}),
    }
