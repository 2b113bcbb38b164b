"""A placement on a pod template: the whole template is compared, and the official client's models know each field."""

import copy
import json
from typing import Any

import pytest
from kubernetes import client

from stepworks.errors import ConfigurationError
from stepworks.kube.builders.pod_template import OwnerSettings, owner_settings, placed_pod_template
from stepworks.placement.placement import Placement
from stepworks.placement.storage import Mount

PLAIN: dict[str, Any] = {"cpu": {"request": "1", "limit": "2"}, "memory": {"request": "1Gi", "limit": "2Gi"}}
EVERYTHING: dict[str, Any] = {
    "workload": "training",
    "cpu": {"request": "8", "limit": "8"},
    "memory": {"request": "64Gi", "limit": "64Gi"},
    "ephemeral_storage": {"request": "10Gi", "limit": "20Gi"},
    "accelerator": {"resource": "nvidia.com/gpu", "count": 2},
    "node_selector": {"gpu-type": "a100"},
    "node_affinity": {
        "required": [{"match_expressions": [{"key": "zone", "operator": "In", "values": ["a", "b"]}]}],
        "preferred": [{"weight": 7, "match_expressions": [{"key": "spot", "operator": "DoesNotExist"}]}],
    },
    "tolerations": [
        {"key": "gpu", "value": "true", "effect": "NoSchedule"},
        {"key": "spot", "operator": "Exists", "effect": "NoExecute", "toleration_seconds": 0},
        {"operator": "Exists"},
    ],
    "preemptible": True,
    "shared_memory": "8Gi",
    "secrets": [
        {"name": "s3", "env": {"id": "AWS_ACCESS_KEY_ID"}},
        {"name": "tls", "mount_path": "/etc/tls", "optional": True},
    ],
    "config_maps": [
        {"name": "proxy", "env": {"url": "HTTPS_PROXY"}, "optional": True},
        {"name": "cluster", "mount_path": "/etc/cluster"},
    ],
    "image_pull_secrets": ["registry"],
    "service_account": "trainer",
    "priority_class": "training",
    "queue": "team",
    "labels": {"team": "vision"},
    "annotations": {"example.com/note": "by hand"},
    "retry": {"count": 3},
    "timeout_seconds": 600,
    "cache": False,
}
MOUNTS = [
    Mount(claim="data", mount_path="/mnt/data", access_mode="ReadOnlyMany", read_only=True),
    Mount(claim="work", mount_path="/mnt/work", access_mode="ReadWriteMany", sub_path="a"),
    Mount(claim="work", mount_path="/mnt/kept", access_mode="ReadWriteMany", sub_path="b", read_only=True),
]
TEMPLATE: dict[str, Any] = {"spec": {"containers": [{"name": "node", "image": "example/gpu:1"}]}}
EXPECTED: dict[str, Any] = {
    "metadata": {
        "labels": {"team": "vision", "kueue.x-k8s.io/queue-name": "team"},
        "annotations": {"sidecar.istio.io/inject": "false", "example.com/note": "by hand"},
    },
    "spec": {
        "nodeSelector": {"gpu-type": "a100"},
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [
                        {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a", "b"]}]}
                    ]
                },
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {"weight": 7, "preference": {"matchExpressions": [{"key": "spot", "operator": "DoesNotExist"}]}}
                ],
            }
        },
        "tolerations": [
            {"key": "gpu", "operator": "Equal", "value": "true", "effect": "NoSchedule"},
            {"key": "spot", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0},
            {"operator": "Exists"},
        ],
        "serviceAccountName": "trainer",
        "priorityClassName": "training",
        "activeDeadlineSeconds": 600,
        "imagePullSecrets": [{"name": "registry"}],
        "containers": [
            {
                "name": "node",
                "image": "example/gpu:1",
                "resources": {
                    "requests": {"cpu": "8", "memory": "64Gi", "ephemeral-storage": "10Gi", "nvidia.com/gpu": "2"},
                    "limits": {"cpu": "8", "memory": "64Gi", "ephemeral-storage": "20Gi", "nvidia.com/gpu": "2"},
                },
                "volumeMounts": [
                    {"name": "data", "mountPath": "/mnt/data", "readOnly": True},
                    {"name": "work", "mountPath": "/mnt/work", "subPath": "a"},
                    {"name": "work", "mountPath": "/mnt/kept", "subPath": "b", "readOnly": True},
                    {"name": "tls", "mountPath": "/etc/tls"},
                    {"name": "cluster", "mountPath": "/etc/cluster"},
                    {"name": "shared-memory", "mountPath": "/dev/shm"},
                ],
                "env": [
                    {"name": "PET_NPROC_PER_NODE", "value": "2"},
                    {
                        "name": "AWS_ACCESS_KEY_ID",
                        "valueFrom": {"secretKeyRef": {"name": "s3", "key": "id", "optional": False}},
                    },
                    {
                        "name": "HTTPS_PROXY",
                        "valueFrom": {"configMapKeyRef": {"name": "proxy", "key": "url", "optional": True}},
                    },
                ],
            }
        ],
        "volumes": [
            {"name": "data", "persistentVolumeClaim": {"claimName": "data", "readOnly": True}},
            {"name": "work", "persistentVolumeClaim": {"claimName": "work"}},
            {"name": "tls", "secret": {"secretName": "tls", "optional": True}},
            {"name": "cluster", "configMap": {"name": "cluster", "optional": False}},
            {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": "8Gi"}},
        ],
    },
}


def placed(template: dict[str, Any] = TEMPLATE, mounts: list[Mount] | None = None, **changed: Any) -> dict[str, Any]:
    return placed_pod_template(template, Placement.model_validate(PLAIN | changed), mounts or [], container="node")


def through_the_models_of_kubernetes(template: dict[str, Any]) -> Any:
    """The template as the client reads and writes it; what its models do not know is lost on the way."""

    class Answer:
        data = json.dumps(template)

    api = client.ApiClient()
    return api.sanitize_for_serialization(api.deserialize(Answer(), "V1PodTemplateSpec"))


def test_every_field_is_in_the_template() -> None:
    assert placed(mounts=MOUNTS, **EVERYTHING) == EXPECTED


def test_the_client_knows_every_field() -> None:
    assert through_the_models_of_kubernetes(EXPECTED) == EXPECTED


def test_a_plain_placement_adds_resources_and_nothing_else() -> None:
    resources = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "2Gi"}}
    assert placed() == {"spec": {"containers": [{**TEMPLATE["spec"]["containers"][0], "resources": resources}]}}


def test_the_template_that_is_given_is_not_changed() -> None:
    before = copy.deepcopy(TEMPLATE)
    placed(mounts=MOUNTS, **EVERYTHING)
    assert before == TEMPLATE


def test_what_the_template_has_stays_and_placing_again_changes_nothing() -> None:
    template = copy.deepcopy(TEMPLATE)
    template["metadata"] = {"labels": {"app": "train"}}
    template["spec"] |= {
        "restartPolicy": "Never",
        "containers": [{"name": "sidecar"}, *template["spec"]["containers"]],
        "tolerations": [{"operator": "Exists"}],
        "volumes": [{"name": "cache", "emptyDir": {}}],
    }
    once = placed(template, **{**EVERYTHING, "node_affinity": {}})
    assert once["metadata"]["labels"]["app"] == "train"
    assert once["spec"]["restartPolicy"] == "Never"
    assert once["spec"]["containers"][0] == {"name": "sidecar"}
    assert [volume["name"] for volume in once["spec"]["volumes"]] == ["cache", "tls", "cluster", "shared-memory"]
    assert once["spec"]["tolerations"].count({"operator": "Exists"}) == 1
    assert placed(once, **{**EVERYTHING, "node_affinity": {}}) == once


@pytest.mark.parametrize(
    ("spec", "changed", "message"),
    [
        ({"nodeSelector": {"gpu-type": "h100"}}, {"node_selector": {"gpu-type": "a100"}}, r"nodeSelector\.gpu-type"),
        ({"priorityClassName": "low"}, {"priority_class": "high"}, r"spec\.priorityClassName"),
        ({"activeDeadlineSeconds": 5}, {"timeout_seconds": 6}, r"spec\.activeDeadlineSeconds"),
        ({"serviceAccountName": "a"}, {"service_account": "b"}, r"spec\.serviceAccountName"),
        (
            {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {}}}},
            {"node_affinity": EVERYTHING["node_affinity"]},
            "requiredDuringScheduling",
        ),
        (
            {"volumes": [{"name": "tls", "emptyDir": {}}]},
            {"secrets": [{"name": "tls", "mount_path": "/etc/tls"}]},
            r"spec\.volumes, tls",
        ),
        (
            {"containers": [{"name": "node", "resources": {"limits": {"cpu": "4"}}}]},
            {},
            r"the container node: resources\.limits\.cpu",
        ),
        (
            {"containers": [{"name": "node", "env": [{"name": "V", "value": "a"}]}]},
            {"secrets": [{"name": "s", "env": {"k": "V"}}]},
            "the container node: env, V",
        ),
        (
            {"containers": [{"name": "node", "volumeMounts": [{"name": "x", "mountPath": "/etc/tls"}]}]},
            {"secrets": [{"name": "tls", "mount_path": "/etc/tls"}]},
            "the container node: volumeMounts, /etc/tls",
        ),
    ],
)
def test_a_template_that_says_otherwise_is_refused(spec: dict[str, Any], changed: dict[str, Any], message: str) -> None:
    template = {"spec": {**TEMPLATE["spec"], **spec}}
    with pytest.raises(ConfigurationError, match=f"disagree about .*{message}"):
        placed(template, **changed)


@pytest.mark.parametrize("template", [{}, {"spec": {}}, {"spec": {"containers": [{"name": "other"}]}}])
def test_a_template_without_the_container_is_refused(template: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="has no container node"):
        placed(template)


def test_a_machine_of_vertex_is_no_pod() -> None:
    with pytest.raises(ConfigurationError, match="cannot express the placement's vertex"):
        placed(vertex={"machine_type": "n1-standard-4"})


def test_mounts_that_clash_are_refused() -> None:
    mounts = [Mount(claim=name, mount_path="/a", access_mode="ReadWriteMany") for name in ("a", "b")]
    with pytest.raises(ConfigurationError, match="cannot mount all"):
        placed(mounts=mounts)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, OwnerSettings({}, 0)),
        (
            {"queue": "team", "retry": {"count": 3}},
            OwnerSettings({"kueue.x-k8s.io/queue-name": "team"}, 3),
        ),
    ],
)
def test_what_the_owner_of_the_pods_is_given(changed: dict[str, Any], expected: OwnerSettings) -> None:
    assert owner_settings(Placement.model_validate(PLAIN | changed)) == expected
