"""The kustomize files of a team's namespace say what the pages and the target say."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from stepworks.placement.target import Target

ROOT = Path(__file__).parents[2]
TEAM = ROOT / "cluster" / "team"


def objects(kind: str) -> dict[str, Any]:
    """The objects of a kind in the files of a team, by name."""
    files = yaml.safe_load((TEAM / "kustomization.yaml").read_text())["resources"]
    read = [each for file in files if file.endswith(".yaml") for each in yaml.safe_load_all((TEAM / file).read_text())]
    return {each["metadata"]["name"]: each for each in read if each["kind"] == kind}


def told(page: str) -> list[Any]:
    """The permissions that a page tells of."""
    found = re.findall(r"```yaml\n( *rules:.*?)```", (ROOT / "docs" / page).read_text(), re.DOTALL)
    return [yaml.safe_load(each)["rules"] for each in found]


PERMISSIONS = {
    "stepworks-serving": told("deploying.md")[0],
    "stepworks-model-server": told("deploying.md")[1],
    "stepworks-jobs": told("jobs.md")[0],
    "stepworks-training": told("training.md")[0],
    "stepworks-tuning": told("tuning.md")[0],
}


def test_there_is_a_role_for_every_permission_that_a_page_tells_of() -> None:
    assert set(objects("Role")) == set(objects("RoleBinding")) == set(PERMISSIONS)
    assert sum(len(told(page.name)) for page in (ROOT / "docs").glob("*.md")) == len(PERMISSIONS)


@pytest.mark.parametrize("role", PERMISSIONS)
def test_the_permissions_are_those_of_the_page(role: str) -> None:
    assert objects("Role")[role]["rules"] == PERMISSIONS[role]
    binding = objects("RoleBinding")[role]
    assert binding["roleRef"]["name"] == role
    assert [subject["name"] for subject in binding["subjects"]] == list(objects("ServiceAccount"))


def test_the_claims_are_those_of_the_target() -> None:
    target = Target.read(ROOT / "targets" / "a100.yaml")
    claims = objects("PersistentVolumeClaim")
    assert {claim.claim: [claim.access_mode] for claim in target.claims.values()} == {
        name: each["spec"]["accessModes"] for name, each in claims.items()
    }


def test_every_serving_runtime_is_applied() -> None:
    folder = ROOT / "cluster" / "serving-runtimes"
    named = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    assert sorted([*named, "kustomization.yaml"]) == sorted(path.name for path in folder.iterdir())
