"""The pod of a task: what Kubeflow Pipelines makes of its executor in the IR, without its launcher and its driver."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stepworks.errors import ConfigurationError
from stepworks.kube.kinds.manifests import Manifest
from stepworks.kubeflow.pods.executor_settings import Container, EmptyDirMount, NodeAffinityTerm, PodSettings, Resources
from stepworks.settings_file import validated

CONTAINER = "main"
"""The name of a step's container, as in Kubeflow."""

RUN_VOLUME = "stepworks-run"

_EXECUTOR_INPUT = "{{$}}"
_IN_KUBEFLOW = "Run the pipeline in Kubeflow: stepworks run PIPELINE --host ADDRESS"

# The first process of a task's pod in Kubeflow passes SIGTERM on to all that the step has started, and the pod is gone
# a second or two later. A shell alone would go at once, and Python with it.
_PASSING_SIGTERM_ON = """\
trap 'trap : TERM; kill -TERM 0; sleep 2; exit 143' TERM
"$@" &
wait $!
"""


def task_pod(
    name: str,
    executor: Mapping[str, Any],
    settings: Mapping[str, Any],
    executor_input: str,
    *,
    service_account: str,
    folder: Path,
) -> Manifest:
    """Build the pod of a task.

    Args:
        name: The pod's name.
        executor: The executor, as `deploymentSpec.executors` of the IR has it.
        settings: What the platform document says of it; empty where it says nothing.
        executor_input: The inputs and outputs, in KFP's JSON, with paths in `folder` for artifacts.
        service_account: The ServiceAccount of the pod.
        folder: A folder of this machine that the pod has at the same path.

    Raises:
        ConfigurationError: The executor is no container, or asks for what is not known here or only in Kubeflow.
    """
    _refuse_without_container(name, executor)
    refusal = {"problem": f"The pod {name} is to have what only Kubeflow gives", "what_to_do": _IN_KUBEFLOW}
    container = validated(Container, executor["container"], expected="the fields of a container", **refusal)
    pod = validated(PodSettings, settings, expected="settings that are known before the run", **refusal)
    volumes = [*_volumes(pod), ({"name": RUN_VOLUME, "hostPath": _host_path(folder)}, {"mountPath": str(folder)})]
    metadata = {"name": name, **pod.pod_metadata.model_dump()}
    main = {
        "name": CONTAINER,
        "image": container.image,
        "imagePullPolicy": pod.image_pull_policy,
        "command": ["sh", "-c", _PASSING_SIGTERM_ON, name, *container.command],
        "args": [_filled_in(each, executor_input, name) for each in container.args],
        "env": _variables(container, pod),
        "resources": _resources(container.resources),
        "volumeMounts": [{"name": volume["name"], **mount} for volume, mount in volumes],
    }
    spec = {
        "restartPolicy": "Never",
        "serviceAccountName": service_account,
        "activeDeadlineSeconds": pod.active_deadline_seconds,
        "nodeSelector": dict(pod.node_selector.labels),
        "affinity": _affinity(pod.node_affinity),
        "tolerations": [each.model_dump(by_alias=True, exclude_defaults=True) for each in pod.tolerations],
        "imagePullSecrets": [{"name": each.secret_name} for each in pod.image_pull_secret],
        "containers": [_given(main)],
        "volumes": _each_once([volume for volume, _ in volumes]),
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": _given(metadata), "spec": _given(spec)}


def _refuse_without_container(name: str, executor: Mapping[str, Any]) -> None:
    if "container" not in executor:
        raise ConfigurationError(
            f"The task of the pod {name} cannot run as a pod",
            received=f"an executor of the kind {', '.join(executor) or 'none'}",
            expected="one with a container",
            what_to_do=_IN_KUBEFLOW,
        )


def _filled_in(argument: str, executor_input: str, name: str) -> str:
    if argument == _EXECUTOR_INPUT:
        return executor_input.replace("$", "$$")  # Kubernetes takes $(NAME) in an argument for a variable
    if "{{$" in argument:
        raise ConfigurationError(
            f"An argument of the pod {name} has a placeholder",
            received=argument,
            expected=f"a step in Python, whose one placeholder is {_EXECUTOR_INPUT}",
            what_to_do=_IN_KUBEFLOW,
        )
    return argument


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that say something."""
    return {name: value for name, value in values.items() if value not in (None, "", (), [], {})}


def _resources(resources: Resources) -> dict[str, Any]:
    device = resources.accelerator
    # KFP sets a limit only; Kubernetes takes the limit of a device as its request.
    devices = {device.resource_type: device.resource_count} if device else {}
    requests = _given({"cpu": resources.resource_cpu_request, "memory": resources.resource_memory_request})
    limits = _given({"cpu": resources.resource_cpu_limit, "memory": resources.resource_memory_limit, **devices})
    return _given({"requests": requests, "limits": limits})


def _variables(container: Container, pod: PodSettings) -> list[dict[str, Any]]:
    return [
        *({"name": each.name, "value": each.value} for each in container.env),
        *(
            _reference(key.env_var, "secretKeyRef", secret.secret_name, key.secret_key, optional=secret.optional)
            for secret in pod.secret_as_env
            for key in secret.key_to_env
        ),
        *(
            _reference(key.env_var, "configMapKeyRef", each.config_map_name, key.config_map_key, optional=each.optional)
            for each in pod.config_map_as_env
            for key in each.key_to_env
        ),
        *(
            {"name": each.name, "valueFrom": {"fieldRef": {"fieldPath": each.field_path}}}
            for each in pod.field_path_as_env
        ),
    ]


def _reference(variable: str, kind: str, name: str, key: str, *, optional: bool) -> dict[str, Any]:
    return {"name": variable, "valueFrom": {kind: {"name": name, "key": key, "optional": optional}}}


def _volumes(pod: PodSettings) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Each volume with its mount, which has no name yet: it is the volume's."""
    return [
        *(
            (
                {"name": each.constant, "persistentVolumeClaim": {"claimName": each.constant}},
                _given({"mountPath": each.mount_path, "subPath": each.sub_path}),
            )
            for each in pod.pvc_mount
        ),
        *(
            (
                {"name": each.secret_name, "secret": {"secretName": each.secret_name, "optional": each.optional}},
                {"mountPath": each.mount_path},
            )
            for each in pod.secret_as_volume
        ),
        *(
            (
                {"name": each.config_map_name, "configMap": _config_map(each.config_map_name, optional=each.optional)},
                {"mountPath": each.mount_path},
            )
            for each in pod.config_map_as_volume
        ),
        *(
            ({"name": each.volume_name, "emptyDir": _empty_dir(each)}, {"mountPath": each.mount_path})
            for each in pod.empty_dir_mounts
        ),
    ]


def _config_map(name: str, *, optional: bool) -> dict[str, Any]:
    return {"name": name, "optional": optional}


def _empty_dir(mount: EmptyDirMount) -> dict[str, Any]:
    return _given({"medium": mount.medium, "sizeLimit": mount.size_limit})


def _host_path(folder: Path) -> dict[str, str]:
    return {"path": str(folder), "type": "Directory"}


def _each_once(volumes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A claim that is mounted twice is one volume."""
    return [volume for number, volume in enumerate(volumes) if volume not in volumes[:number]]


def _affinity(terms: tuple[NodeAffinityTerm, ...]) -> dict[str, Any]:
    required = [_term(each) for each in terms if each.weight is None]
    preferred = [{"weight": each.weight, "preference": _term(each)} for each in terms if each.weight is not None]
    node_affinity = _given(
        {
            "requiredDuringSchedulingIgnoredDuringExecution": _given({"nodeSelectorTerms": required}),
            "preferredDuringSchedulingIgnoredDuringExecution": preferred,
        }
    )
    return _given({"nodeAffinity": node_affinity})


def _term(term: NodeAffinityTerm) -> dict[str, Any]:
    content = term.model_dump(by_alias=True, exclude={"weight"}, exclude_defaults=True, mode="json")
    return dict(content)
