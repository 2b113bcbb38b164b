"""Each pre-flight check in both outcomes, on real objects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client

from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import apply, create, delete, patch
from stepworks.kube.api.references import Reference, reference_to
from stepworks.kube.kinds.manifests import Manifest
from stepworks.kube.preflight.admission import check_pods
from stepworks.kube.preflight.claims import check_claims, check_storage_class
from stepworks.kube.preflight.configuration import (
    check_configuration,
    check_namespace,
    check_priority_classes,
    check_service_accounts,
)
from stepworks.kube.preflight.needs import Needs, PodNeed
from stepworks.kube.preflight.nodes import check_nodes
from stepworks.kube.preflight.permissions import Right, check_permissions
from stepworks.kube.preflight.quotas import check_quotas
from stepworks.kube.preflight.report import Check, State
from stepworks.kube.preflight.view import View
from testbed.bed import Bed
from tests.control_plane.kube.workloads import allow, connect_as, volume
from tests.control_plane.kube.workloads import claim as claim_of_hand
from tests.waiting import wait_for

GPU = "nvidia.com/gpu"
A100 = {
    "node_selector": {"gpu-type": "a100-80gb"},
    "tolerations": [
        {"key": "gpu", "operator": "Equal", "value": "true", "effect": "NoSchedule"},
        {"key": GPU, "operator": "Exists", "effect": "NoSchedule"},
    ],
}


def pods(gpus: int = 0, **fields: Any) -> PodNeed:
    """Pods of a step `train`, with GPUs or on any node without a taint."""
    amounts = {"cpu": "1", "memory": "1Gi"} | ({GPU: str(gpus)} if gpus else {})
    return PodNeed(**{"steps": ["train"], "requests": amounts, "limits": amounts, **(A100 if gpus else {}), **fields})


def only(checks: list[Check]) -> Check:
    (check,) = checks
    return check


def pod(name: str, need: PodNeed, **spec: Any) -> Manifest:
    """A pod that asks for what is needed."""
    resources = {"requests": need.requests, "limits": need.limits}
    main = {"name": "main", "image": "registry.example.com/team/train:1", "resources": resources}
    asked = {"nodeSelector": need.node_selector, "tolerations": list(need.tolerations), "containers": [main]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {**asked, **spec}}


def object_of(api_version: str, kind: str, name: str, **fields: Any) -> Manifest:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, **fields}


@pytest.fixture
def busy(cluster: Cluster) -> Iterator[Cluster]:
    """A namespace whose pods are gone at once when it is left: the nodes are those of other tests, too."""
    yield cluster
    client.CoreV1Api(cluster.client).delete_collection_namespaced_pod(cluster.namespace, grace_period_seconds=0)


def test_a_node_fits_by_its_labels_taints_and_devices(cluster: Cluster) -> None:
    fitting = only(check_nodes(View(cluster), pods(gpus=2)))
    assert fitting.state == State.FINE
    assert "1 of 2 nodes fit (2 nvidia.com/gpu, 1 cpu, 1Gi memory, gpu-type=a100-80gb)" in fitting.told


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"gpus": 5}, "Insufficient nvidia.com/gpu"),
        ({"gpus": 1, "tolerations": []}, "untolerated taint gpu=true"),
        ({"gpus": 1, "node_selector": {"gpu-type": "h200"}}, "2 of 2 nodes: didn't match Pod's node affinity/selector"),
        ({"requests": {"nvidia.com/mig-1g.10gb": "1"}}, "the nodes offer nvidia.com/gpu (4)"),
        (
            {"node_terms": [{"matchExpressions": [{"key": "gpu-type", "operator": "In", "values": ["h200"]}]}]},
            "didn't match Pod's node affinity/selector",
        ),
        ({"requests": {"cpu": "33"}}, "Insufficient cpu"),
    ],
    ids=["devices", "taint", "label", "other device", "affinity", "cpu"],
)
def test_no_node_fits_and_it_says_why(cluster: Cluster, changed: dict[str, Any], told: str) -> None:
    check = only(check_nodes(View(cluster), pods(**changed)))
    assert check.state == State.MISSING
    assert told in check.told
    assert check.what_to_do
    assert only(check_nodes(View(cluster), pods(**changed), more_may_come=True)).state == State.UNKNOWN


def test_pods_that_need_each_other_find_room_together_or_not_at_all(cluster: Cluster) -> None:
    assert only(check_nodes(View(cluster), pods(gpus=2, together=2))).state == State.FINE
    check = only(check_nodes(View(cluster), pods(gpus=3, together=2)))
    assert check.state == State.MISSING
    assert check.told.startswith("2 pods at once ask for 3 nvidia.com/gpu, 1 cpu, 1Gi memory, gpu-type=a100-80gb each")
    assert check.told.endswith("and there is place for 1 of them")


def test_room_that_others_have_is_waited_for(busy: Cluster, bed: Bed) -> None:
    need = pods(gpus=4)
    create(busy, pod("other", need))
    bed.kubectl("-n", busy.namespace, "wait", "pod/other", "--for=jsonpath={.spec.nodeName}=simulated-gpu")
    fitting, room = check_nodes(View(busy), need)
    assert (fitting.state, room.state) == (State.FINE, State.WAITS)
    assert "room for 0 of 1 such pods now" in room.told


def test_pods_of_a_lower_priority_make_room(busy: Cluster, bed: Bed) -> None:
    name = f"above-{busy.namespace}"
    above = object_of("scheduling.k8s.io/v1", "PriorityClass", name, value=1000)
    create(busy, above)
    try:
        create(busy, pod("other", pods(gpus=4)))
        bed.kubectl("-n", busy.namespace, "wait", "pod/other", "--for=jsonpath={.spec.nodeName}=simulated-gpu")
        assert only(check_nodes(View(busy), pods(gpus=4, priority_class=name))).state == State.FINE
    finally:
        delete(busy, reference_to(above))


def quota(cluster: Cluster, bed: Bed, hard: dict[str, str], **spec: Any) -> None:
    """A quota that its controller has counted once."""
    create(cluster, object_of("v1", "ResourceQuota", "team", spec={"hard": hard, **spec}))
    bed.kubectl(
        "-n", cluster.namespace, "wait", "resourcequota/team", f"--for=jsonpath={{.status.hard.pods}}={hard['pods']}"
    )


def quota_check(cluster: Cluster, need: PodNeed, peak: dict[str, str]) -> Check:
    return only(check_quotas(View(cluster), Needs(pods=[need], peak=peak), [need], {}))


def test_a_quota_leaves_room_is_used_up_or_is_too_small(busy: Cluster, bed: Bed) -> None:
    assert quota_check(busy, pods(gpus=1), {}).told == "the namespace has no ResourceQuota"
    quota(busy, bed, {"requests.nvidia.com/gpu": "3", "pods": "10"})
    asked = {"requests.nvidia.com/gpu": "2", "pods": "2"}
    assert quota_check(busy, pods(gpus=2), asked).state == State.FINE
    create(busy, pod("other", pods(gpus=2)))
    bed.kubectl("-n", busy.namespace, "wait", "resourcequota/team", "--for=jsonpath={.status.used.pods}=1")
    used_up = quota_check(busy, pods(gpus=2), asked)
    assert (used_up.state, used_up.told) == (
        State.WAITS,
        "up to 2 requests.nvidia.com/gpu at once, and 1 of 3 is left",
    )
    too_small = quota_check(busy, pods(gpus=4), {"requests.nvidia.com/gpu": "4"})
    assert (too_small.state, too_small.told) == (
        State.MISSING,
        "train asks for 4 requests.nvidia.com/gpu, and the quota is 3 requests.nvidia.com/gpu",
    )


def test_a_scoped_quota_counts_its_pods_only(cluster: Cluster, bed: Bed) -> None:
    scope = {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["training"]}]}
    quota(cluster, bed, {"pods": "0"}, scopeSelector=scope)
    assert quota_check(cluster, pods(), {"pods": "1"}).state == State.FINE
    assert quota_check(cluster, pods(priority_class="training"), {"pods": "1"}).state == State.MISSING


def claim(name: str, **spec: Any) -> Manifest:
    asked = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return object_of("v1", "PersistentVolumeClaim", name, spec=asked | spec)


@pytest.fixture
def storage(cluster: Cluster) -> Iterator[str]:
    """A StorageClass that waits for the first pod."""
    name = f"waits-{cluster.namespace}"
    made = object_of(
        "storage.k8s.io/v1",
        "StorageClass",
        name,
        provisioner="example.com/none",
        volumeBindingMode="WaitForFirstConsumer",
    )
    create(cluster, made)
    yield name
    delete(cluster, reference_to(made))


def test_a_claim_is_missing_bindable_bound_or_for_one_node_only(cluster: Cluster, storage: str, bed: Bed) -> None:
    def check(**fields: Any) -> Check:
        return only(check_claims(View(cluster), [pods(claims=["data"], **fields)]))

    assert (check().state, "is not in the namespace" in check().told) == (State.MISSING, True)
    create(cluster, claim("data", storageClassName=storage))
    assert check().state == State.FINE
    assert "with its first pod" in check().told
    several = check(together=33)
    assert several.state == State.MISSING
    assert several.told == "its access modes are ReadWriteOnce, and 33 pods of train mount it at once"
    assert check(together=2).state == State.UNKNOWN  # one node may take both
    with_step = only(check_claims(View(cluster), [pods(claims=["data"]), pods(claims=["data"], maker="Job")]))
    assert with_step.told.endswith("mount it at once, which works on one node only")
    server = [pods(claims=["data"]), pods(claims=["data"], maker="InferenceService")]
    assert only(check_claims(View(cluster), server)).state == State.FINE
    delete(cluster, Reference("v1", "PersistentVolumeClaim", "data"))
    bed.kubectl("-n", cluster.namespace, "wait", "pvc/data", "--for=delete")
    create(cluster, claim("data", storageClassName="nowhere"))
    assert "there is no StorageClass nowhere" in check().told
    assert check().state == State.MISSING


def test_a_claim_that_is_bound_is_fine_and_one_whose_volume_is_gone_is_not(cluster: Cluster, bed: Bed) -> None:
    made = volume(cluster.namespace, "data")
    create(cluster, made)
    try:
        create(cluster, claim_of_hand("data"))
        bed.kubectl("-n", cluster.namespace, "wait", "pvc/data", "--for=jsonpath={.status.phase}=Bound")
        need = pods(claims=["data"])
        assert only(check_claims(View(cluster), [need])).told == "bound, ReadWriteOnce"
        delete(cluster, reference_to(made))
        patch(cluster, reference_to(made), {"metadata": {"finalizers": None}})  # which keeps it while it is in use
        bed.kubectl("-n", cluster.namespace, "wait", "pvc/data", "--for=jsonpath={.status.phase}=Lost")
        lost = only(check_claims(View(cluster), [need]))
        assert (lost.state, lost.told) == (State.MISSING, "it is Lost: its volume is gone")
    finally:
        delete(cluster, reference_to(made))


def test_a_storage_class_for_a_claim_of_the_run(cluster: Cluster, storage: str) -> None:
    assert check_storage_class(View(cluster), storage, "make-claim").state == State.FINE
    assert check_storage_class(View(cluster), "nowhere", "make-claim").state == State.MISSING


def test_a_namespace_that_is_there_or_not(cluster: Cluster) -> None:
    assert check_namespace(View(cluster)).state == State.FINE
    elsewhere = Cluster(cluster.client, "stepworks-test-nowhere")
    assert check_namespace(View(elsewhere)).state == State.MISSING


def test_secrets_config_maps_and_their_keys(cluster: Cluster) -> None:
    need = pods(secrets={"store": ["user", "password"]}, config_maps={"settings": ["url"]}, image_pull_secrets=["pull"])

    def states() -> dict[str, str]:
        checks = check_configuration(View(cluster), [need])
        return {check.subject: f"{check.state.value}: {check.told}" for check in checks}

    assert {what: told.partition(":")[0] for what, told in states().items()} == {
        "Secret store": "missing",
        "ConfigMap settings": "missing",
        "Secret pull": "could not check",  # a node may pull the image without it
    }
    create(cluster, object_of("v1", "Secret", "store", stringData={"user": "u"}))
    create(cluster, object_of("v1", "Secret", "pull", stringData={"any": "x"}))
    create(cluster, object_of("v1", "ConfigMap", "settings", data={"url": "http://example.com"}))
    assert states() == {
        "Secret pull": "fine: it is there",
        "Secret store": "missing: it has no key password; it has user",
        "ConfigMap settings": "fine: it has url",
    }
    apply(cluster, object_of("v1", "Secret", "store", stringData={"user": "u", "password": "p"}))
    assert states()["Secret store"] == "fine: it has password, user"


def test_service_accounts_and_priority_classes(cluster: Cluster) -> None:
    accounts = check_service_accounts(View(cluster), "default", [pods(service_account="nobody")])
    assert [check.state for check in accounts] == [State.FINE, State.MISSING]
    classes = check_priority_classes(
        View(cluster), [pods(priority_class="system-node-critical"), pods(priority_class="nowhere")]
    )
    assert {check.subject: check.state for check in classes} == {
        "PriorityClass nowhere": State.MISSING,
        "PriorityClass system-node-critical": State.FINE,
    }


def test_permissions_of_a_service_account(cluster: Cluster) -> None:
    rights = {"run-job": [Right("batch", "jobs", "create"), Right("", "pods/log", "get", optional=True)]}
    create(cluster, object_of("v1", "ServiceAccount", "runner"))
    lacking = only(check_permissions(View(cluster), rights, "runner"))
    assert (lacking.state, lacking.told) == (State.MISSING, "the ServiceAccount runner may not create jobs of batch")
    allow(cluster, "runner", [{"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create"]}])

    def granted_by_now() -> Check | None:
        check = only(check_permissions(View(cluster), rights, "runner"))
        return check if check.state == State.FINE else None

    granted = wait_for("the API server has heard of the Role", granted_by_now)
    assert "without get pods/log" in granted.told


def test_the_api_server_takes_a_pod_or_says_why_not(cluster: Cluster, bed: Bed) -> None:
    def check(need: PodNeed) -> Check:
        return only(check_pods(View(cluster), [need], "default"))

    assert check(pods()).state == State.FINE
    limits = {"limits": [{"type": "Container", "max": {"cpu": "500m"}}]}
    create(cluster, object_of("v1", "LimitRange", "small", spec=limits))
    refused = check(pods())
    assert refused.state == State.MISSING
    assert "maximum cpu usage per Container is 500m" in refused.told
    delete(cluster, Reference("v1", "LimitRange", "small"))
    dropped = check(pods(priority_class="system-node-critical"))
    assert (dropped.state, dropped.told) == (
        State.MISSING,
        "the placement asks for the priority class system-node-critical, and the pod gets none",
    )
    assert bed.kubectl("-n", cluster.namespace, "get", "pods", "-o", "name") == ""


def test_what_may_not_be_looked_at_is_never_fine(cluster: Cluster, tmp_path: Path) -> None:
    view = View(connect_as(cluster, "stranger", tmp_path))
    need = pods(gpus=1, claims=["data"], secrets={"store": ["key"]}, priority_class="training")
    checks = [
        check_namespace(view),
        *check_nodes(view, need),
        *check_quotas(view, Needs(pods=[need]), [need], {}),
        *check_claims(view, [need]),
        *check_configuration(view, [need]),
        *check_service_accounts(view, "default", []),
        *check_permissions(view, {"run-job": [Right("batch", "jobs", "create")]}, "default"),
    ]
    assert {check.state for check in checks} == {State.UNKNOWN}
    assert all("may not" in check.told for check in checks)


def test_a_webhook_that_does_not_answer_is_no_verdict(cluster: Cluster) -> None:
    """The API server cannot call it, and so says nothing of the pod."""
    webhook = {
        "name": "pods.example.com",
        "clientConfig": {"url": "https://127.0.0.1:9/pods"},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": cluster.namespace}},
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "timeoutSeconds": 1,
    }
    group, name = "admissionregistration.k8s.io/v1", f"pods.{cluster.namespace}.example.com"
    hook = object_of(group, "ValidatingWebhookConfiguration", name, webhooks=[webhook])
    create(cluster, hook)
    impatient = replace(cluster, give_up_at=cluster.clock.now())

    def judged() -> Check | None:
        check = only(check_pods(View(impatient), [pods()], "default"))
        return None if check.state == State.FINE else check

    try:
        check = wait_for("the API server has heard of the webhook", judged)
    finally:
        delete(cluster, reference_to(hook))
    assert (check.state, "failed calling webhook" in check.told) == (State.UNKNOWN, True)
