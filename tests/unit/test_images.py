"""The images hold what their steps need, pinned, and nothing that builds."""

import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

from stepworks.kubeflow.component import family_of_image

ROOT = Path(__file__).parents[2]
FAMILIES = ("cpu", "gpu", "serving")
DOCKERFILE = (ROOT / "images" / "Dockerfile").read_text()


def pinned(family: str) -> set[str]:
    """The packages of an image."""
    text = (ROOT / "requirements" / f"image-{family}.txt").read_text()
    return {normal(name) for name in re.findall(r"^([\w.-]+)==", text, re.MULTILINE)}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("stepworks", include_external_packages=True)


COMPONENTS = {f"{path.parts[-3]}/{path.parts[-2]}": path for path in sorted(ROOT.glob("components/*/*/component.py"))}


@pytest.mark.parametrize("name", COMPONENTS)
def test_an_image_holds_whatever_its_steps_import(graph: grimp.ImportGraph, name: str) -> None:
    module = f"stepworks.components.{name.replace('/', '.')}.component"
    image = __import__(module, fromlist=["x"]).__dict__[name.partition("/")[2]].component_spec
    family = family_of_image(image.implementation.container.image)
    reached = {each for each in graph.find_upstream_modules(module) if not each.startswith("stepworks")}
    distributions = importlib.metadata.packages_distributions()
    for package in reached - set(sys.stdlib_module_names):
        owners = {normal(each) for each in distributions[package.partition(".")[0]]}
        assert owners & pinned(family), f"{name} imports {package}, which the image {family} does not hold"


@pytest.mark.parametrize("family", FAMILIES)
def test_every_package_of_an_image_is_pinned_by_its_hashes(family: str) -> None:
    text = (ROOT / "requirements" / f"image-{family}.txt").read_text()
    entries = re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)[1:]
    assert len(entries) > 30
    assert all("--hash=sha256:" in entry for entry in entries)


def test_the_base_is_pinned_and_the_steps_run_without_rights() -> None:
    assert re.search(r"^ARG BASE=\S+:\S+@sha256:[0-9a-f]{64}$", DOCKERFILE, re.MULTILINE)
    parents = {name: base for base, name in re.findall(r"^FROM (\S+) AS ([\w-]+)$", DOCKERFILE, re.MULTILINE)}
    for family in FAMILIES:
        assert parents[family] == "runtime"
    runtime = DOCKERFILE.partition("AS runtime")[2].partition("\nFROM")[0]
    assert re.search(r"^USER 65532:65532$", runtime, re.MULTILINE)
    for family in FAMILIES:
        last = DOCKERFILE.partition(f"AS {family}\n")[2].partition("\nFROM")[0]
        assert "RUN" not in last
        assert "USER" not in last


def build(tmp_path: Path, *arguments: str, engines: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the script with engines that write down how they are called."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, body in engines.items():
        (folder / name).write_text(f"#!/bin/bash\n{body}\n")
        (folder / name).chmod(0o755)
    for tool in ("bash", "env", "dirname", "cat"):
        (folder / tool).symlink_to(f"/usr/bin/{tool}")
    return subprocess.run(
        [str(ROOT / "images" / "build"), *arguments],
        env={**os.environ, "PATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_first_engine_that_works_builds_each_image(tmp_path: Path) -> None:
    log = tmp_path / "log"
    engines = {"docker": "exit 1", "podman": f'[ "$1" = info ] || echo "podman $*" >> {log}'}
    ended = build(tmp_path, "registry.example.com/team", "0.1.0", "--push", engines=engines)
    assert ended.returncode == 0, ended.stderr
    calls = log.read_text().splitlines()
    assert [call.split()[1] for call in calls] == ["build", "push"] * 3
    assert "--target gpu --tag registry.example.com/team/gpu:0.1.0 ." in calls[2]
    assert "  serving: registry.example.com/team/serving:0.1.0" in ended.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "Usage: make images"),
        (["registry.example.com/team", ""], "Usage"),
        (["registry.example.com/team", "latest"], "moves"),
        (["registry.example.com/team", "0.1.0"], "apt install podman"),
    ],
)
def test_what_cannot_be_built_is_told(tmp_path: Path, arguments: list[str], told: str) -> None:
    ended = build(tmp_path, *arguments, engines={})
    assert ended.returncode == 2
    assert told in ended.stderr
