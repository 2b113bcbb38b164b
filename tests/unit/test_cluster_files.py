"""The kustomize files of `cluster` say what the targets, the library and the pages say."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from stepworks.kube.builders.model_server import SERVER_LABEL
from stepworks.kubeflow.ir.peak import peak_accelerators
from stepworks.kubeflow.ir.read import read_ir
from stepworks.operations import roles
from stepworks.operations.permissions import PERMISSIONS, WHEN
from stepworks.placement.placement import PRIORITY_CLASS_LABEL
from stepworks.placement.quantity import parse_cpu, parse_memory
from stepworks.placement.target import Target

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
TARGETS = {path.stem: path for path in (ROOT / "targets").glob("*.yaml")}
ON_KUBEFLOW = sorted(name for name, path in TARGETS.items() if Target.read(path).backend == "kubeflow")
OVERLAYS = {"a100": "a100", "mig": "mig"}
"""Which target each overlay is for."""


def documents(*paths: Path) -> list[dict[str, Any]]:
    """All objects in files."""
    return [each for path in paths for each in yaml.safe_load_all(path.read_text())]


def objects(folder: str, kind: str) -> dict[str, dict[str, Any]]:
    """The objects of a kind that a folder names as its resources, by name."""
    resources = yaml.safe_load((CLUSTER / folder / "kustomization.yaml").read_text())["resources"]
    read = documents(*(CLUSTER / folder / file for file in resources if file.endswith(".yaml")))
    return {each["metadata"]["name"]: each for each in read if each["kind"] == kind}


def quota(overlay: str, name: str = "stepworks") -> dict[str, str]:
    """What a team may ask for, with what an overlay changes of it."""
    hard = dict(objects("base", "ResourceQuota")[name]["spec"]["hard"])
    for patch in documents(CLUSTER / "overlays" / overlay / "quota.yaml"):
        hard |= patch["spec"]["hard"] if patch["metadata"]["name"] == name else {}
    return hard


def test_the_roles_and_the_page_are_what_the_steps_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert roles.main(["--check"]) == 0


def test_stale_roles_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for path in (roles.ROLES, roles.PAGE):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# before\n{roles.BEGIN}{roles.END}# after\n")
    assert roles.main(["--check"]) == 1
    assert "make docs" in capsys.readouterr().err
    assert roles.main([]) == 0
    assert roles.main(["--check"]) == 0
    assert roles.PAGE.read_text().startswith("# before\n")
    assert roles.PAGE.read_text().endswith("# after\n")


def test_each_role_holds_the_rules_of_one_step_for_the_service_account() -> None:
    found = objects("base", "Role")
    names = {component: roles.role_name(component) for component in PERMISSIONS}
    assert set(found) - set(names.values()) == {"stepworks-kubeflow-pipelines"}
    for component, name in names.items():
        assert found[name]["rules"] == roles.rules_of(component)
    accounts = {"kind": "ServiceAccount", "name": "pipeline-runner"}
    bindings = objects("base", "RoleBinding")
    assert set(bindings) == set(found)
    assert all(each["subjects"] == [accounts] and each["roleRef"]["name"] == name for name, each in bindings.items())
    assert list(objects("base", "ServiceAccount")) == ["pipeline-runner"]


def test_permissions_are_of_components_that_are_there_and_name_no_wildcard() -> None:
    components = {path.parent.name for path in (ROOT / "components").glob("*/*/component.py")}
    assert set(PERMISSIONS) <= components
    for permission in (each for permissions in PERMISSIONS.values() for each in permissions):
        assert "*" not in (permission.group, *permission.resources, *permission.verbs)
        assert permission.when in WHEN
        assert "secrets" not in permission.resources
    assert set(roles.REASONS) == set(WHEN)


@pytest.mark.parametrize("name", ON_KUBEFLOW)
def test_the_claims_are_those_of_the_target(name: str) -> None:
    claims = objects("base", "PersistentVolumeClaim")
    assert {claim.claim: [claim.access_mode] for claim in Target.read(TARGETS[name]).claims.values()} == {
        name: each["spec"]["accessModes"] for name, each in claims.items()
    }


@pytest.mark.parametrize(("overlay", "name"), OVERLAYS.items())
def test_the_quota_lets_in_what_the_target_asks_for(overlay: str, name: str) -> None:
    target, hard = Target.read(TARGETS[name]), {**quota(overlay), **quota(overlay, "stepworks-training")}
    for placement in target.placements.values():
        assert parse_cpu(str(placement.cpu.request)) <= parse_cpu(hard["requests.cpu"])
        assert parse_memory(str(placement.memory.request)) <= parse_memory(hard["requests.memory"])
        if placement.accelerator:
            assert placement.accelerator.count <= int(hard[f"requests.{placement.accelerator.resource}"])
    for path in (ROOT / "compiled").glob(f"*/*/{name}.yaml"):
        peak = peak_accelerators(read_ir(path))
        for resource, count in peak.by_type.items():
            assert count <= int(hard[f"requests.{resource}"]), path


@pytest.mark.parametrize("overlay", ["small", *OVERLAYS])
def test_the_claims_fit_into_the_quota(overlay: str) -> None:
    hard = quota(overlay)
    sizes = [parse_memory(each["spec"]["resources"]["requests"]["storage"]) for each in claims_of(overlay)]
    assert sum(sizes) <= parse_memory(hard["requests.storage"])
    (limits,) = objects("base", "LimitRange").values()
    (of_claims,) = (each for each in limits["spec"]["limits"] if each["type"] == "PersistentVolumeClaim")
    assert max(sizes) <= parse_memory(of_claims["max"]["storage"])


def claims_of(overlay: str) -> Iterable[dict[str, Any]]:
    """The claims with the size that an overlay gives them."""
    size = re.search(r"storage, value: (\w+)}", (CLUSTER / "overlays" / overlay / "kustomization.yaml").read_text())
    for claim in objects("base", "PersistentVolumeClaim").values():
        if size:
            claim["spec"]["resources"]["requests"]["storage"] = size[1]
        yield claim


def test_the_priority_classes_and_the_queue_are_those_that_targets_name() -> None:
    text = "\n".join(TARGETS[name].read_text() for name in ON_KUBEFLOW)
    classes = objects("cluster-wide", "PriorityClass")
    assert set(re.findall(r"priority_class: (\S+)", text)) == set(classes)
    assert classes["inference"]["value"] > classes["training"]["value"] > 0
    assert classes["inference"]["preemptionPolicy"] == "PreemptLowerPriority"
    assert classes["training"]["preemptionPolicy"] == "Never"
    assert set(re.findall(r"queue: (\S+)", text)) == set(objects("kueue", "LocalQueue"))
    quotas = objects("base", "ResourceQuota")
    for name, operator in (("stepworks-inference", "In"), ("stepworks-training", "NotIn")):
        (scope,) = quotas[name]["spec"]["scopeSelector"]["matchExpressions"]
        assert (scope["operator"], scope["values"]) == (operator, ["inference"])


def test_the_nodes_of_the_queue_are_those_of_the_target() -> None:
    (flavor,) = objects("kueue", "ResourceFlavor").values()
    training = Target.read(TARGETS["a100"]).placement("training")
    assert flavor["spec"]["nodeLabels"] == training.node_selector
    tolerations = [each.model_dump(exclude_none=True) for each in training.tolerations]
    assert flavor["spec"]["tolerations"] == tolerations
    (queue,) = objects("kueue", "ClusterQueue").values()
    (group,) = queue["spec"]["resourceGroups"]
    hard = {**quota("a100"), **quota("a100", "stepworks-training")}
    for resource in group["flavors"][0]["resources"]:
        assert resource["nominalQuota"] == hard[f"requests.{resource['name']}"]


def test_labels_are_those_that_the_library_sets() -> None:
    (policy,) = objects("cluster-wide", "MutatingAdmissionPolicy").values()
    (selected,) = policy["spec"]["matchConstraints"]["objectSelector"]["matchExpressions"]
    assert selected["key"] == PRIORITY_CLASS_LABEL
    assert f'labels["{PRIORITY_CLASS_LABEL}"]' in policy["spec"]["mutations"][0]["jsonPatch"]["expression"]
    keys = re.findall(r"key: (\S+),", (CLUSTER / "base" / "network-policies.yaml").read_text())
    assert SERVER_LABEL in keys


def test_every_serving_runtime_is_applied() -> None:
    folder = CLUSTER / "serving-runtimes"
    named = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    assert sorted([*named, "kustomization.yaml"]) == sorted(path.name for path in folder.iterdir())


def test_templates_hold_no_values() -> None:
    for each in documents(*(CLUSTER / "templates").iterdir()):
        assert set({**each.get("data", {}), **each.get("stringData", {})}.values()) == {""}
