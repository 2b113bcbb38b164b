"""A placement on a KFP task: what is written, and what is refused."""

from collections.abc import Callable
from typing import Any

import pytest
import yaml
from google.protobuf import json_format
from kfp import dsl, kubernetes
from kfp.kubernetes import kubernetes_executor_config_pb2

from stepworks.errors import ConfigurationError
from stepworks.kubeflow.compile import compile_pipeline
from stepworks.kubeflow.executor_config import executor_config
from stepworks.kubeflow.pipeline import Pipeline
from stepworks.kubeflow.place import apply_placement
from stepworks.placement.placement import Placement
from stepworks.placement.storage import Mount
from stepworks.placement.target import Target

Make = Callable[[str], Pipeline]

PLAIN: dict[str, Any] = {"cpu": {"request": "4", "limit": "4"}, "memory": {"request": "16Gi", "limit": "16Gi"}}
EVERYTHING: dict[str, Any] = {
    **PLAIN,
    "workload": "training",
    "accelerator": {"resource": "nvidia.com/gpu", "count": 2},
    "node_selector": {"gpu-type": "a100", "zone": "a"},
    "node_affinity": {
        "required": [
            {"match_expressions": [{"key": "zone", "operator": "In", "values": ["a", "b"]}]},
            {"match_expressions": [{"key": "spot", "operator": "DoesNotExist"}]},
        ],
        "preferred": [{"weight": 7, "match_expressions": [{"key": "cores", "operator": "Gt", "values": ["16"]}]}],
    },
    "tolerations": [
        {"key": "gpu", "value": "true", "effect": "NoSchedule"},
        {"key": "spot", "operator": "Exists", "effect": "NoExecute", "toleration_seconds": 0},
        {"operator": "Exists"},
    ],
    "preemptible": True,
    "shared_memory": "8Gi",
    "secrets": [
        {"name": "s3", "env": {"id": "AWS_ACCESS_KEY_ID", "key": "AWS_SECRET_ACCESS_KEY"}},
        {"name": "tls", "mount_path": "/etc/tls", "optional": True},
    ],
    "config_maps": [
        {"name": "proxy", "env": {"url": "HTTPS_PROXY"}},
        {"name": "cluster", "mount_path": "/etc/cluster"},
    ],
    "image_pull_secrets": ["registry"],
    "priority_class": "training",
    "queue": "team",
    "labels": {"team": "vision"},
    "annotations": {"example.com/note": "by hand"},
    "retry": {"count": 3},
    "timeout_seconds": 600,
    "cache": False,
}
TARGET = {"name": "here", "images": {"cpu": "example/cpu:1"}, "roles": {"training": "all"}}
MOUNTS = [
    Mount(claim="data", mount_path="/mnt/data", access_mode="ReadOnlyMany", read_only=True),
    Mount(claim="work", mount_path="/mnt/work", access_mode="ReadWriteMany", sub_path="a/b"),
]


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def plain(text: str = "") -> str:
    """A step of plain kfp."""
    return text


def by_setters_of_kfp(task: dsl.PipelineTask) -> None:
    """What `EVERYTHING` and `MOUNTS` say, by kfp's own functions."""
    for mount in MOUNTS:
        kubernetes.mount_pvc(task, mount.claim, mount.mount_path, mount.sub_path)
    kubernetes.add_node_selector(task, "gpu-type", "a100")
    kubernetes.add_node_selector(task, "zone", "a")
    kubernetes.add_node_affinity(task, [{"key": "zone", "operator": "In", "values": ["a", "b"]}])
    kubernetes.add_node_affinity(task, [{"key": "spot", "operator": "DoesNotExist"}])
    kubernetes.add_node_affinity(task, [{"key": "cores", "operator": "Gt", "values": ["16"]}], weight=7)
    kubernetes.add_toleration(task, "gpu", "Equal", "true", "NoSchedule")
    kubernetes.add_toleration(task, "spot", "Exists", effect="NoExecute", toleration_seconds=0)
    kubernetes.add_toleration(task, operator="Exists")
    kubernetes.empty_dir_mount(task, "shared-memory", "/dev/shm", "Memory", "8Gi")
    kubernetes.use_secret_as_env(task, "s3", {"id": "AWS_ACCESS_KEY_ID", "key": "AWS_SECRET_ACCESS_KEY"})
    kubernetes.use_secret_as_volume(task, "tls", "/etc/tls", optional=True)
    kubernetes.use_config_map_as_env(task, "proxy", {"url": "HTTPS_PROXY"})
    kubernetes.use_config_map_as_volume(task, "cluster", "/etc/cluster")
    kubernetes.set_image_pull_secrets(task, ["registry"])
    kubernetes.add_pod_label(task, "team", "vision")
    kubernetes.add_pod_label(task, "stepworks.dev/priority-class", "training")
    kubernetes.add_pod_label(task, "kueue.x-k8s.io/queue-name", "team")
    kubernetes.add_pod_annotation(task, "sidecar.istio.io/inject", "false")
    kubernetes.add_pod_annotation(task, "example.com/note", "by hand")
    kubernetes.set_timeout(task, 600)


def normal(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings as KFP's own message holds them; fails on a field that the message does not have."""
    message = json_format.ParseDict(settings, kubernetes_executor_config_pb2.KubernetesExecutorConfig())
    return dict(json_format.MessageToDict(message))


def settings_of(apply: Callable[[dsl.PipelineTask], Any]) -> dict[str, Any]:
    """The settings that a function gives to a task."""
    found = {}

    @dsl.pipeline
    def one() -> None:
        task = plain()
        apply(task)
        found.update(task.platform_config.get("kubernetes", {}))

    return found


def test_the_settings_of_an_executor_are_what_the_setters_of_kfp_write() -> None:
    ours = settings_of(lambda task: apply_placement(task, Placement.model_validate(EVERYTHING), MOUNTS))
    assert normal(ours) == normal(settings_of(by_setters_of_kfp))


def test_a_plain_placement_writes_no_settings() -> None:
    assert executor_config(Placement.model_validate(PLAIN)) == {}
    assert settings_of(lambda task: apply_placement(task, Placement.model_validate(PLAIN))) == {}


TOLERATIONS = [{"key": "gpu", "operator": "Exists"}]


def test_what_a_task_has_already_stays() -> None:
    placement = Placement.model_validate(
        {**PLAIN, "labels": {"b": "2"}, "timeout_seconds": 60, "tolerations": TOLERATIONS}
    )

    def both(task: dsl.PipelineTask) -> None:
        kubernetes.add_pod_label(task, "a", "1")
        kubernetes.add_toleration(task, operator="Exists")
        kubernetes.set_timeout(task, 30)
        apply_placement(task, placement, MOUNTS[:1])

    settings = normal(settings_of(both))
    assert settings["podMetadata"]["labels"] == {"a": "1", "b": "2"}
    assert settings["tolerations"] == [{"operator": "Exists"}, {"key": "gpu", "operator": "Exists"}]
    assert settings["activeDeadlineSeconds"] == "60"
    assert [mount["constant"] for mount in settings["pvcMount"]] == ["data"]


@pytest.mark.parametrize(
    ("changed", "mounts", "message"),
    [
        ({"ephemeral_storage": {"request": "1Gi", "limit": "2Gi"}}, [], "KFP task cannot express .*ephemeral_storage"),
        ({"service_account": "trainer"}, [], "KFP task cannot express .*service_account"),
        ({"vertex": {"machine_type": "n1-standard-4"}}, [], "KFP task cannot express .*vertex"),
        (
            {},
            [Mount(claim="a", mount_path="/a", access_mode="ReadWriteMany", read_only=True)],
            "KFP task cannot mount the claim a read-only",
        ),
        (
            {},
            [Mount(claim=name, mount_path="/a", access_mode="ReadWriteMany") for name in ("a", "b")],
            "cannot mount all that it asks for",
        ),
        (
            {"shared_memory": "1Gi"},
            [Mount(claim="a", mount_path="/dev/shm", access_mode="ReadWriteMany")],
            "cannot mount all that it asks for",
        ),
    ],
)
def test_what_kfp_cannot_express_is_an_error(changed: dict[str, Any], mounts: list[Mount], message: str) -> None:
    placement = Placement.model_validate(PLAIN | changed)
    with pytest.raises(ConfigurationError, match=message) as caught:
        settings_of(lambda task: apply_placement(task, placement, mounts))
    assert caught.value.received


def test_every_setting_reaches_the_compiled_file(make_pipeline: Make) -> None:
    tiny = make_pipeline(
        """
@pipeline(version="1.0.0")
def tiny():
    \"\"\"Ask for everything.\"\"\"
    place(add(a=1, b=1), "training")
"""
    )
    target = Target.model_validate({**TARGET, "placements": {"all": EVERYTHING}})
    specification, platform = yaml.safe_load_all(compile_pipeline(tiny, target).text)
    written = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-add"]
    assert normal(written) == normal(executor_config(Placement.model_validate(EVERYTHING)))
    container = specification["deploymentSpec"]["executors"]["exec-add"]["container"]
    assert container["env"] == [{"name": "PET_NPROC_PER_NODE", "value": "2"}]
