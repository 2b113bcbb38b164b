"""The file registry: versions are numbered, whole, and never change."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stepworks.errors import NotFoundError, ParameterError, RegistryError, ResourceError
from stepworks.registry.admission import require_pass
from stepworks.registry.registry import Metadata, Registry
from stepworks.report.documents import VerdictDocument
from stepworks.supervisor.supervisor import Supervisor


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "package"
    (folder / "weights").mkdir(parents=True)
    (folder / "weights" / "w").write_bytes(b"\x00\x01")
    return folder


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry")


def metadata(run: str = "run-1") -> Metadata:
    return Metadata(run=run, created_by="test")


def test_a_registered_version_is_a_copy_with_its_origin(registry: Registry, package: Path) -> None:
    model = registry.register("flights", package, "d1", metadata())
    (package / "weights" / "w").write_bytes(b"changed")
    found = registry.get("flights", 1)
    assert found == model
    assert (found.directory / "weights" / "w").read_bytes() == b"\x00\x01"
    assert (found.digest, found.metadata, found.already_registered) == ("d1", metadata(), False)


def test_a_number_that_an_alias_names_is_not_given_again(registry: Registry, package: Path, tmp_path: Path) -> None:
    for number in (1, 2):
        registry.register("flights", package, f"d{number}", metadata(f"run-{number}"))
    registry.set_alias("flights", "champion", 2)
    shutil.rmtree(tmp_path / "registry" / "flights" / "2")
    assert registry.register("flights", package, "d3", metadata("run-3")).version == 3


def test_versions_count_up_and_a_retry_gets_its_own(registry: Registry, package: Path) -> None:
    registry.register("flights", package, "d1", metadata("run-1"))
    registry.register("flights", package, "d1", metadata("run-2"))
    again = registry.register("flights", package, "d1", metadata("run-1"))
    assert (again.version, again.already_registered) == (1, True)
    assert registry.register("flights", package, "d2", metadata("run-1")).version == 3
    assert [model.version for model in registry.versions("flights")] == [1, 2, 3]
    assert registry.versions("others") == []


def test_versions_sort_as_numbers(registry: Registry, package: Path) -> None:
    for run in range(11):
        registry.register("flights", package, "d", metadata(str(run)))
    assert [model.version for model in registry.versions("flights")] == list(range(1, 12))


def test_writers_at_once_get_different_versions(tmp_path: Path, package: Path) -> None:
    program = f"""
import sys
sys.path[:0] = {sys.path!r}
from pathlib import Path
from stepworks.registry.registry import Metadata, Registry
print("ready", flush=True)
sys.stdin.readline()
for turn in range(10):
    run = f"{{sys.argv[1]}}-{{turn}}"
    model = Registry({str(tmp_path / "registry")!r}).register(
        "flights", Path({str(package)!r}), "d", Metadata(run=run, created_by="test"))
    print(model.version, model.metadata.run)
"""
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(number)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for number in range(3)
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("\n")
        writer.stdin.flush()
    claims = [line.split() for writer in writers for line in writer.communicate()[0].splitlines()]
    assert sorted(int(version) for version, _ in claims) == list(range(1, 31))
    registry = Registry(tmp_path / "registry")
    assert all(registry.get("flights", int(version)).metadata.run == run for version, run in claims)
    assert not list((tmp_path / "registry" / "flights").glob(".incoming-*"))


def test_a_failed_copy_leaves_no_version(registry: Registry, package: Path, tmp_path: Path) -> None:
    (package / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ResourceError, match=r"(?s)Cannot write to the registry.*nothing was registered"):
        registry.register("flights", package, "d", metadata())
    assert list((tmp_path / "registry" / "flights").iterdir()) == []


def test_the_champion_before_is_remembered_however_often_a_write_is_repeated(
    registry: Registry, package: Path, tmp_path: Path
) -> None:
    for run in "abc":
        registry.register("flights", package, run, Metadata(run=run, created_by="test"))
    assert registry.previous("flights") is None
    for version, previous in ((1, None), (2, 1), (2, 1), (3, 2), (1, 3)):
        registry.make_champion("flights", version)
        champion, before = registry.champion("flights"), registry.previous("flights")
        assert champion is not None
        assert (champion.version, before and before.version) == (version, previous)
    with pytest.raises(NotFoundError, match="no version 7"):
        registry.make_champion("flights", 7)


def test_the_champion_moves_and_other_aliases_stay(registry: Registry, package: Path, tmp_path: Path) -> None:
    assert registry.champion("flights") is None
    for run in ("a", "b"):
        registry.register("flights", package, "d", metadata(run))
    registry.set_alias("flights", "champion", 1)
    registry.set_alias("flights", "shadow", 1)
    registry.set_alias("flights", "champion", 2)
    champion = registry.champion("flights")
    assert champion is not None
    assert champion.version == 2
    aliases = json.loads((tmp_path / "registry" / "flights" / "aliases.json").read_text())
    assert aliases == {"champion": 2, "shadow": 1}


def test_what_is_not_there_is_named(registry: Registry, package: Path) -> None:
    registry.register("flights", package, "d", metadata())
    with pytest.raises(NotFoundError, match=r"(?s)no version 7 of flights.*one of: 1"):
        registry.set_alias("flights", "champion", 7)
    with pytest.raises(NotFoundError, match=r"(?s)no version 1 of ghosts.*one of: none"):
        registry.get("ghosts", 1)
    with pytest.raises(NotFoundError, match="There is no package"):
        registry.register("flights", package / "gone", "d", metadata())


@pytest.mark.parametrize("name", ["", "Flights", "1st", "a/b", "../up", "a.b", "end-", "x" * 64])
def test_names_are_dns_labels(registry: Registry, package: Path, name: str) -> None:
    with pytest.raises(ParameterError, match="lowercase DNS label"):
        registry.register(name, package, "d", metadata())
    registry.register("flights", package, "d", metadata())
    with pytest.raises(ParameterError, match="An alias"):
        registry.set_alias("flights", name, 1)


def test_broken_files_are_named(registry: Registry, package: Path, tmp_path: Path) -> None:
    registry.register("flights", package, "d", metadata())
    folder = tmp_path / "registry" / "flights"
    for content in ("{", "[]", '{"champion": "x"}'):
        (folder / "aliases.json").write_text(content)
        with pytest.raises(RegistryError, match=r"aliases\.json"):
            registry.champion("flights")
    (folder / "1" / "metadata.json").write_text("{}")
    with pytest.raises(RegistryError, match=r"metadata\.json"):
        registry.get("flights", 1)


def test_a_registry_that_cannot_be_written_is_named(tmp_path: Path, package: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="Cannot write to the registry"):
        Registry(tmp_path / "file").register("flights", package, "d", metadata())


@pytest.mark.parametrize("verdict", ["fail", "insufficient_data"])
def test_only_a_pass_passes(verdict: str) -> None:
    require_pass(VerdictDocument(verdict="pass", reason="better", rules=[]), "register the model")
    with pytest.raises(RegistryError, match=f"(?s)does not let this run register the model.*{verdict}: too few rows"):
        require_pass(VerdictDocument(verdict=verdict, reason="too few rows", rules=[]), "register the model")


def test_a_claims_mount_path_is_resolved(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Supervisor(tmp_path / "logs", {"/mnt/registry": tmp_path / "claim"}) as supervisor:
        for name, value in supervisor.environment().items():
            monkeypatch.setenv(name, value)
        model = Registry("/mnt/registry/team").register("flights", package, "d", metadata())
    assert model.directory == tmp_path / "claim" / "team" / "flights" / "1" / "package"
