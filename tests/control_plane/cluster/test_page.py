"""What docs/cluster.md says to type, typed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed.bed import Bed
from testbed.settings import Node
from tests.control_plane.jobs import ROOT

PAGE = (ROOT / "docs" / "cluster.md").read_text()
FENCED = re.findall(r"^( *)```(\w*)\n(.*?)^ *```$", PAGE, re.DOTALL | re.MULTILINE)
BLOCKS = [(language, re.sub(f"^{indent}", "", text, flags=re.MULTILINE)) for indent, language, text in FENCED]
COMMANDS = [text for language, text in BLOCKS if not language and text.startswith(("kubectl", "cp "))]
CHANGES = [text for language, text in BLOCKS if language == "yaml"]
NAMES = {"NODE": "new-node", "GATEWAY_NAMESPACE": "kube-public", "FILE": "key.txt"}
ELSEWHERE = ("kubectl apply -k cluster/kueue", "kubectl -n team-a cp ")
"""What takes Kueue, or a pod that runs; the pods of this bed are simulated."""


@pytest.fixture
def shell(team_bed: Bed, tmp_path: Path) -> Iterator[Any]:
    """Runs commands in a copy of the checkout, where kubectl is that of the bed."""
    shutil.copytree(ROOT / "cluster", tmp_path / "cluster")
    (tmp_path / "key.txt").write_text("key")
    team_bed.write_kubectl()
    team_bed.add_simulated_nodes(Node("new-node"))

    def run(commands: str) -> str:
        path = f"{team_bed.folder}:{os.environ['PATH']}"
        command = ["bash", "-euc", commands]
        done = subprocess.run(
            command, cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}{done.stderr}"
        return done.stdout

    yield run
    team_bed.kubectl("delete", "node", "new-node")
    team_bed.kubectl("delete", "namespace", "team-a", "vision", "--ignore-not-found", "--wait=false")


def test_the_commands_of_the_page_work(shell: Any) -> None:
    said = ""
    for block in COMMANDS:
        lines = [line for line in block.splitlines() if not line.startswith(ELSEWHERE)]
        text = "\n".join(lines)
        for name, value in NAMES.items():
            text = re.sub(rf"\b{name}\b", value, text)
        said += shell(text)
    assert len(COMMANDS) >= 9
    assert "namespace/vision created" in said
    assert "clusterrolebinding.rbac.authorization.k8s.io/stepworks-cluster-reader.vision created" in said
    assert "node/new-node tainted" in said
    assert re.search(r"requests.nvidia.com/gpu +0 +8", said)
    assert "configmap/settings created" in said


@pytest.mark.parametrize(
    ("block", "kind", "expected"),
    [
        ("default-editor", "RoleBinding", "name: default-editor"),
        ("shared-files", "PersistentVolumeClaim", "storageClassName: shared-files"),
        ("dataSource", "PersistentVolumeClaim", "name: datasets-to-fill"),
        ("newName", "ServingRuntime", "image: registry.example.com/vision/serving:0.1.0"),
    ],
)
def test_the_changes_of_an_overlay_come_out(shell: Any, tmp_path: Path, block: str, kind: str, expected: str) -> None:
    (change,) = [yaml.safe_load(each) for each in CHANGES if block in each]
    path = tmp_path / "cluster" / "overlays" / "a100" / "kustomization.yaml"
    overlay = yaml.safe_load(path.read_text())
    for name, value in change.items():
        overlay[name] = [*(each for each in overlay.get(name, []) if each not in value), *value]
    path.write_text(yaml.safe_dump(overlay))
    built = list(yaml.safe_load_all(shell("kubectl kustomize cluster/overlays/a100")))
    assert any(expected in yaml.safe_dump(each) for each in built if each["kind"] == kind)
