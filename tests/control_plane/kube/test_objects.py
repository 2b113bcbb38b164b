"""Objects on a real API server: what it refuses, and how that is told."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml
from kubernetes import client

from stepworks.errors import (
    AccessDeniedError,
    AdmissionError,
    AlreadyExistsError,
    ClusterError,
    ConflictError,
    NotFoundError,
)
from stepworks.kube.api.cluster import Cluster, connect
from stepworks.kube.api.objects import apply, create, delete, find, get, list_objects, patch
from stepworks.kube.api.pods import evict
from stepworks.kube.api.references import Reference, Selection, reference_to
from stepworks.kube.api.schema import read_schema
from stepworks.kube.kinds.judgement import Judgement, Pending, Succeeded
from stepworks.kube.kinds.manifests import Manifest
from stepworks.kube.kinds.rules import GONE, status_of
from stepworks.kube.waiting.wait import wait
from tests.control_plane.kube.workloads import allow, config_map, connect_as, job, once_allowed, pod


def test_what_another_manager_holds_is_not_taken_from_it(cluster: Cluster) -> None:
    apply(cluster, config_map("settings", ours="1"))
    core = client.CoreV1Api(cluster.client)
    core.patch_namespaced_config_map(
        "settings", cluster.namespace, {"data": {"ours": "theirs"}}, field_manager="somebody"
    )
    with pytest.raises(ConflictError) as caught:
        apply(cluster, config_map("settings", ours="2"))
    assert caught.value.received == '.data.ours: conflict with "somebody" using v1'
    assert get(cluster, Reference("v1", "ConfigMap", "settings"))["data"] == {"ours": "theirs"}


def test_what_is_no_longer_applied_goes(cluster: Cluster) -> None:
    apply(cluster, config_map("settings", first="1"))
    assert apply(cluster, config_map("settings", second="2"))["data"] == {"second": "2"}


def test_an_object_is_created_once_and_only_the_one_that_was_read_is_changed(cluster: Cluster) -> None:
    created = create(cluster, config_map("settings", a="1"))
    reference = reference_to(created)
    with pytest.raises(AlreadyExistsError):
        create(cluster, config_map("settings", a="2"))
    with pytest.raises(ConflictError, match="not what it was"):
        patch(cluster, reference, {"metadata": {"resourceVersion": "1"}, "data": {"a": "3"}})
    assert patch(cluster, reference, {"data": {"a": None, "b": "4"}})["data"] == {"b": "4"}
    assert not delete(cluster, reference, uid="of another")
    assert delete(cluster, reference, uid=created["metadata"]["uid"])
    assert find(cluster, reference) is None


def test_a_dry_run_stores_nothing(cluster: Cluster) -> None:
    assert apply(cluster, config_map("settings"), dry_run=True)["metadata"]["uid"]
    assert find(cluster, Reference("v1", "ConfigMap", "settings")) is None


def test_a_dry_run_changes_and_deletes_nothing(cluster: Cluster) -> None:
    reference = reference_to(create(cluster, config_map("settings", a="1")))
    assert patch(cluster, reference, {"data": {"a": "2"}}, dry_run=True)["data"] == {"a": "2"}
    assert delete(cluster, reference, dry_run=True)
    assert get(cluster, reference)["data"] == {"a": "1"}


def test_lists_come_in_pages(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepworks.kube.api.objects._PAGE", 2)
    for number in range(5):
        apply(cluster, config_map(f"settings-{number}"))
    names = [each["metadata"]["name"] for each in list_objects(cluster, Selection("v1", "ConfigMap"))]
    assert [f"settings-{number}" for number in range(5)] == [name for name in names if name.startswith("settings")]


WRONG_TYPE = job("wrong", parallelism="two")
UNKNOWN_FIELD = job("wrong", paralelism=2)
INVALID = job("wrong", completionMode="Sometimes")


@pytest.mark.parametrize("write", [apply, create])
@pytest.mark.parametrize(
    ("manifest", "told"),
    [(WRONG_TYPE, "parallelism"), (UNKNOWN_FIELD, "paralelism"), (INVALID, "spec.completionMode: Unsupported value")],
)
def test_an_object_that_is_not_valid_is_told_by_its_field(
    cluster: Cluster, write: Callable[[Cluster, Manifest], Manifest], manifest: Manifest, told: str
) -> None:
    with pytest.raises(AdmissionError, match="the object is not valid") as caught:
        write(cluster, manifest)
    assert told in caught.value.received
    assert find(cluster, Reference("batch/v1", "Job", "wrong")) is None


def test_what_cannot_be_changed_is_told_shortly(cluster: Cluster) -> None:
    apply(cluster, job("train", suspend=True))
    changed = job("train", suspend=True)
    changed["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.example.com/team/cpu:2"
    with pytest.raises(AdmissionError) as caught:
        apply(cluster, changed)
    assert caught.value.received.endswith("field is immutable")
    assert len(caught.value.received) < 400
    assert "another name" in caught.value.what_to_do


@dataclass(frozen=True)
class QuotaCounts:
    goal: str = "counted"
    absence_succeeds: bool = False

    def judge(self, manifest: Manifest) -> Judgement:
        return Succeeded() if status_of(manifest).get("hard") else Pending("no status yet")


def test_a_quota_is_told_as_a_quota(cluster: Cluster) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team"}}
    apply(cluster, {**quota, "spec": {"hard": {"count/jobs.batch": "0"}}})
    # It counts once its controller has looked at it.
    wait(cluster, Reference("v1", "ResourceQuota", "team"), until=QuotaCounts(), timeout=60)
    with pytest.raises(AdmissionError) as caught:
        create(cluster, job("train", suspend=True))
    assert "exceeded quota: team" in caught.value.received
    assert "have the quota raised" in caught.value.what_to_do


def test_a_namespace_that_is_not_there_is_told(cluster: Cluster) -> None:
    elsewhere = replace(cluster, namespace="stepworks-absent")
    for write in (apply, create):
        with pytest.raises(NotFoundError, match="There is no namespace stepworks-absent"):
            write(elsewhere, config_map("settings"))


@pytest.mark.parametrize(
    ("api_version", "kind", "expected", "what_to_do"),
    [
        ("batch/v1", "Jbo", "Job of batch/v1", "Use what the cluster serves."),
        ("batch/v1beta1", "CronJob", "CronJob of batch/v1", "Use what the cluster serves."),
        ("keda.sh/v1alpha1", "ScaledObject", "a kind that the cluster serves", "Have KEDA installed"),
    ],
)
def test_an_unknown_kind_is_told(cluster: Cluster, api_version: str, kind: str, expected: str, what_to_do: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        find(cluster, Reference(api_version, kind, "a"))
    assert caught.value.expected == expected
    assert what_to_do in caught.value.what_to_do


def test_the_rule_that_is_told_is_the_rule_that_is_missing(cluster: Cluster, tmp_path: Path) -> None:
    runner = connect_as(cluster, "runner", tmp_path)
    apply(cluster, pod("serve"))
    asked = {
        "get": lambda: find(runner, Reference("batch/v1", "Job", "train")),
        "list": lambda: list_objects(runner, Selection("batch/v1", "Job")),
        "apply": lambda: apply(runner, job("train", suspend=True)),
        "watch": lambda: wait(runner, Reference("batch/v1", "Job", "absent"), until=GONE, timeout=10),
        "delete": lambda: delete(runner, Reference("batch/v1", "Job", "train")),
        "evict": lambda: evict(runner, "serve"),
    }
    for ask in asked.values():
        with pytest.raises(AccessDeniedError) as caught:
            ask()
        assert f"the ServiceAccount runner of the namespace {cluster.namespace}" in caught.value.what_to_do
        rule = caught.value.what_to_do.partition("\n")[2]
        allow(cluster, "runner", yaml.safe_load(rule))
        once_allowed(ask)


def test_a_pod_is_evicted(cluster: Cluster) -> None:
    uid = apply(cluster, pod("serve"))["metadata"]["uid"]
    with pytest.raises(ConflictError):
        evict(cluster, "serve", uid="of another")
    evict(cluster, "serve", uid=uid)
    wait(cluster, Reference("v1", "Pod", "serve"), until=GONE, timeout=30, uid=uid)
    assert find(cluster, Reference("v1", "Pod", "serve")) is None


def test_credentials_and_certificates_that_are_none_are_told(cluster: Cluster, tmp_path: Path) -> None:
    path = tmp_path / "runner.yaml"
    connect_as(cluster, "runner", tmp_path)
    good = yaml.safe_load(path.read_text())
    for section, entry, told in (
        ("users", {"user": {"token": "expired"}}, "did not accept the credentials"),
        ("clusters", {"cluster": {"server": good["clusters"][0]["cluster"]["server"]}}, "certificate was not accepted"),
    ):
        path.write_text(yaml.safe_dump({**good, section: [{"name": "runner", **entry}]}))
        with pytest.raises(ClusterError, match=told):
            find(connect(kubeconfig=path), Reference("v1", "Pod", "a"))


def test_fields_of_kubernetes_own_kinds_are_told(cluster: Cluster) -> None:
    schema = read_schema(cluster, "batch/v1", "Job")
    assert schema.has_field("spec.podFailurePolicy.rules.onExitCodes.values")
    assert not schema.has_field("spec.podFailurePolicies")
