"""`kubectl apply -k` of each overlay on an empty control plane, and what the cluster then does for a team."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stepworks.errors import ClusterError
from stepworks.kube.api.objects import create, list_objects
from stepworks.kube.api.references import Selection
from stepworks.kube.kinds.manifests import Manifest
from stepworks.placement.placement import PRIORITY_CLASS_LABEL
from testbed.bed import Bed
from testbed.settings import Settings
from tests.control_plane.cluster.overlays import OVERLAYS, team
from tests.control_plane.conftest import running_bed
from tests.control_plane.jobs import ROOT


@pytest.fixture(scope="module")
def empty_bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """A control plane with KServe, on which nothing else was applied."""
    settings = Settings(controllers=("kserve",), process_nodes=(), simulation=False)
    with running_bed(tmp_path_factory, "empty-bed", settings) as started:
        yield started


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_sets_up_a_team_whole_and_a_second_time_changes_nothing(empty_bed: Bed, overlay: str) -> None:
    kubectl, folder = empty_bed.kubectl, ROOT / "cluster" / "overlays" / overlay
    first = kubectl("apply", "-k", folder).splitlines()
    assert {line.rpartition(" ")[2] for line in first} == {"created"}
    second = kubectl("apply", "-k", folder).splitlines()
    assert {line.rpartition(" ")[2] for line in second} == {"unchanged"}
    assert [line.rpartition(" ")[0] for line in second] == [line.rpartition(" ")[0] for line in first]
    assert kubectl("diff", "-k", folder) == ""
    kubectl("delete", "-k", folder)  # so that the next one finds an empty control plane


def test_a_second_team_leaves_the_first_one_as_it_is(team_bed: Bed, tmp_path: Path) -> None:
    bindings = Selection("rbac.authorization.k8s.io/v1", "ClusterRoleBinding")
    with team(team_bed, tmp_path, "first") as first, team(team_bed, tmp_path, "second"):
        found = {each["metadata"]["name"]: each.get("subjects") for each in list_objects(first, bindings)}
    ours = {name: subjects for name, subjects in found.items() if name.startswith("stepworks-")}
    assert ours == {
        f"stepworks-cluster-reader.{name}": [{"kind": "ServiceAccount", "name": "pipeline-runner", "namespace": name}]
        for name in ("first", "second")
    }


def task_pod(name: str, labels: dict[str, str], **spec: str) -> Manifest:
    """A pod as Kubeflow Pipelines makes one for a step."""
    containers = [{"name": "main", "image": "registry.example.com/stepworks/cpu:1"}]
    metadata = {"name": name, "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": containers, **spec}}


def test_the_label_of_a_pod_becomes_its_priority_class(team_bed: Bed, tmp_path: Path) -> None:
    with team(team_bed, tmp_path, "labelled") as cluster:
        other = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "other"}}
        team_bed.apply({**other, "value": 7})
        made = [
            create(cluster, task_pod("served", {PRIORITY_CLASS_LABEL: "inference"})),
            create(cluster, task_pod("trained", {PRIORITY_CLASS_LABEL: "training"})),
            create(cluster, task_pod("own", {PRIORITY_CLASS_LABEL: "training"}, priorityClassName="other")),
            create(cluster, task_pod("plain", {"app": "a"})),
        ]
        found = {each["metadata"]["name"]: each["spec"] for each in made}
        with pytest.raises(ClusterError, match="no PriorityClass with name none-such was found"):
            create(cluster, task_pod("wrong", {PRIORITY_CLASS_LABEL: "none-such"}))
    told = {
        name: (each.get("priorityClassName"), each["priority"], each["preemptionPolicy"])
        for name, each in found.items()
    }
    assert told == {
        "served": ("inference", 100000, "PreemptLowerPriority"),
        "trained": ("training", 1000, "Never"),
        "own": ("other", 7, "PreemptLowerPriority"),
        "plain": (None, 0, "PreemptLowerPriority"),
    }
