"""Releases, as a user makes them: in a Git repository of their own."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from stepworks.cli.main import app
from stepworks.errors import ConfigurationError, NotFoundError, ParameterError, StepworksError, UserError
from stepworks.kubeflow.compile import check_compiled, compile_pipeline, write_compiled
from stepworks.kubeflow.git import Repository
from stepworks.kubeflow.pipeline import load_pipeline
from stepworks.kubeflow.release import ReleaseIndex
from stepworks.placement.target import Target

TARGET = """
name: here
images: {cpu: "example/cpu:1"}
placements:
  plain:
    cpu: {request: "1", limit: "1"}
    memory: {request: 1Gi, limit: 1Gi}
roles: {small: plain}
"""
PIPELINE = """
@pipeline(version="1.0.0")
def tiny(n: int = 1):
    \"\"\"Add twice.\"\"\"
    first = place(add(a=n, b=1), "small")
    place(add(a=first.output, b=2), "small")
"""


class Checkout:
    """A repository with one pipeline and one target."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "targets").mkdir()
        (folder / "targets" / "here.yaml").write_text(TARGET)
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *arguments: str) -> str:
        settings = ["-c", "user.name=Tester", "-c", "user.email=tester@example.com", "-c", "commit.gpgsign=false"]
        done = subprocess.run(
            ["git", *settings, *arguments], cwd=self.folder, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def commit(self) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "A change")
        return self.git("rev-parse", "HEAD")

    def stepworks(self, command: str, *arguments: str) -> str:
        """Run a command on the pipeline; raise what it raises."""
        paths = {"compile": ["--output", "compiled"], "release": ["--compiled", "compiled"]}[command]
        result = CliRunner().invoke(app, [command, *arguments, *paths])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.output

    def edit(self, old: str, new: str, path: str = "tiny.py") -> None:
        file = self.folder / path
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new))


@pytest.fixture
def checkout(tmp_path: Path, write_pipeline: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> Checkout:
    write_pipeline(PIPELINE)
    monkeypatch.chdir(tmp_path)
    made = Checkout(tmp_path)
    made.stepworks("compile", "tiny.py")
    made.commit()
    return made


@pytest.fixture
def released(checkout: Checkout) -> Checkout:
    checkout.stepworks("release", "tiny.py")
    checkout.commit()
    return checkout


def test_a_release_records_digest_compiler_and_commit(checkout: Checkout) -> None:
    revision = checkout.git("rev-parse", "HEAD")
    assert "tiny 1.0.0 for here  released" in checkout.stepworks("release", "tiny.py")
    index = json.loads((checkout.folder / "compiled/index.json").read_text())
    entry = index["releases"]["tiny"]["1.0.0"]["here"]
    digest = subprocess.run(["sha256sum", "compiled/tiny/1.0.0/here.yaml"], capture_output=True, text=True, check=True)
    assert entry == {"kfp": "kfp-2.17.0", "revision": revision, "sha256": digest.stdout.split()[0]}


def test_a_release_again_changes_nothing(released: Checkout) -> None:
    before = (released.folder / "compiled/index.json").read_bytes()
    assert "was released before" in released.stepworks("release", "tiny.py")
    assert (released.folder / "compiled/index.json").read_bytes() == before
    assert "1 released file(s)" in released.stepworks("release", "--check")


@pytest.mark.parametrize(
    ("old", "new", "due", "told"),
    [
        ("n: int = 1", "n: int", "2.0.0", "n: NUMBER_INTEGER = 1.0 -> NUMBER_INTEGER (required)"),
        ("b=2", "b=3", "1.1.0", "parameter b: 2.0 -> 3.0"),
        ('print("adding", a', 'print("Adding", a', "1.0.1", "code"),
    ],
)
def test_compiling_refuses_to_change_a_released_version_and_names_the_one_that_is_due(
    released: Checkout, old: str, new: str, due: str, told: str
) -> None:
    kept = (released.folder / "compiled/tiny/1.0.0/here.yaml").read_bytes()
    released.edit(old, new)
    with pytest.raises(UserError) as error:
        released.stepworks("compile", "tiny.py")
    assert due in str(error.value)
    assert told in str(error.value)
    assert (released.folder / "compiled/tiny/1.0.0/here.yaml").read_bytes() == kept
    released.edit('version="1.0.0"', f'version="{due}"')
    released.stepworks("compile", "tiny.py")
    assert (released.folder / f"compiled/tiny/{due}/here.yaml").is_file()
    assert (released.folder / "compiled/tiny/1.0.0/here.yaml").read_bytes() == kept


def test_a_changed_image_is_a_change_of_a_released_version(released: Checkout) -> None:
    released.edit("cpu:1", "cpu:2", "targets/here.yaml")
    with pytest.raises(UserError, match=r"1\.0\.1"):
        released.stepworks("compile", "tiny.py")


def test_an_unreleased_version_may_change(checkout: Checkout) -> None:
    checkout.edit("b=2", "b=3")
    assert "written" in checkout.stepworks("compile", "tiny.py")


def test_another_target_can_be_added_to_a_released_version(released: Checkout) -> None:
    (released.folder / "targets" / "there.yaml").write_text(TARGET.replace("here", "there"))
    released.stepworks("compile", "tiny.py")
    released.commit()
    told = released.stepworks("release", "tiny.py")
    assert "for here  was released before" in told
    assert "for there  released" in told


@pytest.mark.parametrize("place", ["notes.txt", "compiled/notes.txt", "targets/notes.txt"])
def test_what_is_not_committed_is_not_released(checkout: Checkout, place: str) -> None:
    (checkout.folder / place).write_text("not committed")
    with pytest.raises(UserError, match=place):
        checkout.stepworks("release", "tiny.py")
    assert not (checkout.folder / "compiled/index.json").exists()


def test_a_changed_source_that_is_not_committed_is_not_released(checkout: Checkout) -> None:
    checkout.edit('version="1.0.0"', 'version="1.0.1"')
    checkout.stepworks("compile", "tiny.py")
    checkout.git("add", "compiled")
    checkout.git("commit", "--quiet", "--message", "The compiled file alone")
    with pytest.raises(UserError, match=r"tiny\.py"):
        checkout.stepworks("release", "tiny.py")


def test_other_line_ends_are_another_file(checkout: Checkout) -> None:
    path = checkout.folder / "compiled/tiny/1.0.0/here.yaml"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    checkout.commit()
    with pytest.raises(UserError, match="line ends"):
        checkout.stepworks("release", "tiny.py")


def test_a_folder_that_is_not_there_is_not_in_order(checkout: Checkout) -> None:
    result = CliRunner().invoke(app, ["release", "--check", "--compiled", "nothing"])
    assert isinstance(result.exception, NotFoundError)


def test_what_is_stale_is_not_released(checkout: Checkout) -> None:
    checkout.edit("b=2", "b=3")
    checkout.commit()
    with pytest.raises(UserError, match="not what the source compiles to"):
        checkout.stepworks("release", "tiny.py")


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_the_check_finds_a_released_file_that_is_no_longer_so(released: Checkout, damage: str) -> None:
    path = released.folder / "compiled/tiny/1.0.0/here.yaml"
    if damage == "changed":
        path.write_text(path.read_text() + "# one more line\n")
    else:
        path.unlink()
    for command, arguments in (("release", ["--check"]), ("compile", ["--check", "tiny.py"])):
        with pytest.raises(StepworksError, match="here") as error:
            released.stepworks(command, *arguments)
        assert error.value.exit_code == 2


def test_the_check_finds_a_release_that_an_earlier_revision_had(released: Checkout) -> None:
    assert "1 released" in released.stepworks("release", "--check", "--against", "main")
    index = released.folder / "compiled/index.json"
    index.write_text('{"releases": {}}')
    assert "0 released" in released.stepworks("release", "--check")
    with pytest.raises(UserError, match="is gone"):
        released.stepworks("release", "--check", "--against", "main")
    with pytest.raises(UserError, match="does not know the revision nowhere"):
        released.stepworks("release", "--check", "--against", "nowhere")
    first = released.git("rev-list", "--max-parents=0", "HEAD")
    released.stepworks("release", "--check", "--against", first)  # there was no index then


def test_an_ignored_source_is_not_released(checkout: Checkout) -> None:
    checkout.git("rm", "--cached", "--quiet", "tiny.py")
    (checkout.folder / ".gitignore").write_text("tiny.py\n")
    checkout.commit()
    with pytest.raises(UserError, match=r"not in Git"):
        checkout.stepworks("release", "tiny.py")


def test_images_of_a_placeholder_registry_are_not_released(checkout: Checkout) -> None:
    checkout.edit("example/cpu:1", "registry.example.com/team/cpu:1", "targets/here.yaml")
    checkout.stepworks("compile", "tiny.py")
    checkout.commit()
    with pytest.raises(UserError, match="I05"):
        checkout.stepworks("release", "tiny.py")


def test_one_target_can_be_released_alone(checkout: Checkout) -> None:
    (checkout.folder / "targets" / "there.yaml").write_text(TARGET.replace("here", "there"))
    checkout.stepworks("compile", "tiny.py")
    checkout.commit()
    assert "there" not in checkout.stepworks("release", "tiny.py", "--target", "here")
    assert "1 released" in checkout.stepworks("release", "--check")


def test_a_revision_without_a_check_releases_nothing(checkout: Checkout) -> None:
    result = CliRunner().invoke(app, ["release", "tiny.py", "--against", "HEAD"])
    assert isinstance(result.exception, ParameterError)
    assert not (checkout.folder / "compiled/index.json").exists()


def test_a_target_can_be_retired_after_a_release(released: Checkout) -> None:
    (released.folder / "targets" / "there.yaml").write_text(TARGET.replace("here", "there"))
    (released.folder / "targets" / "here.yaml").unlink()
    compiled = [compile_pipeline(load_pipeline("tiny.py"), Target.read(Path("targets/there.yaml")))]
    write_compiled(compiled, Path("compiled"))
    check_compiled(compiled, Path("compiled"), complete=True)
    Path("compiled/tiny/1.0.0/gone.yaml").write_text("# of no target\n")
    with pytest.raises(UserError, match=r"gone\.yaml"):
        check_compiled(compiled, Path("compiled"), complete=True)


def test_all_that_would_change_is_told_at_once(released: Checkout) -> None:
    (released.folder / "targets" / "there.yaml").write_text(TARGET.replace("here", "there"))
    released.stepworks("compile", "tiny.py")
    released.commit()
    released.stepworks("release", "tiny.py")
    released.commit()
    released.edit("b=2", "b=3")
    with pytest.raises(UserError, match=r"for here.*\n.*for there"):
        released.stepworks("compile", "tiny.py")


@pytest.mark.parametrize("content", ["", "[]", "{", '{"releases": {"p": {"1.0.0": {"t": {"sha256": "short"}}}}}'])
def test_a_damaged_index_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "index.json").write_text(content)
    with pytest.raises(ConfigurationError, match=r"index\.json"):
        ReleaseIndex.read(tmp_path)


def test_outside_of_a_repository_nothing_is_released(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Run in the checkout"):
        Repository(tmp_path).revision()


def test_the_index_of_this_repository_holds(pytestconfig: Any) -> None:
    compiled = pytestconfig.rootpath / "compiled"
    assert ReleaseIndex.read(compiled).check_files(compiled) >= 0
