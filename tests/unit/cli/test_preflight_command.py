"""`stepworks preflight` with what it cannot use: nothing is looked at, and whoever calls it made a mistake."""

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from stepworks.cli import preflight
from stepworks.cli.main import app
from stepworks.errors import StepworksError, UserError

ROOT = Path(__file__).parents[3]
COMPILED = ROOT / "compiled" / "language_fine_tune" / "0.1.0"


def refusal(*arguments: str | Path) -> StepworksError:
    ended = CliRunner().invoke(app, ["preflight", *map(str, arguments)])
    assert isinstance(ended.exception, UserError), ended.output
    assert ended.exception.exit_code == 2
    return ended.exception


@pytest.fixture
def unreachable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kubeconfig of a server that is not there."""
    server = {"server": "http://127.0.0.1:9"}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "x",
        "clusters": [{"name": "x", "cluster": server}],
        "users": [{"name": "x", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(content))
    monkeypatch.setenv("KUBECONFIG", str(path))


def test_there_is_no_such_file(tmp_path: Path) -> None:
    assert "cannot be read" in refusal(tmp_path / "none.yaml").problem


def test_the_file_is_no_pipeline(tmp_path: Path) -> None:
    path = tmp_path / "values.yaml"
    path.write_text("a: 1\n")
    assert refusal(path)


def test_the_pipeline_is_for_another_kind_of_target() -> None:
    error = refusal(COMPILED / "vertex.yaml")
    assert "compiled for Vertex AI" in error.problem
    assert "a100.yaml" in error.what_to_do


def test_there_is_no_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    assert "no cluster to talk to" in refusal(COMPILED / "a100.yaml").problem


def test_the_cluster_does_not_answer(unreachable: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "_PATIENCE_SECONDS", 0.2)
    error = refusal(COMPILED / "a100.yaml")
    assert "did not answer" in error.problem
    assert "kubectl version" in error.what_to_do


def test_a_namespace_whose_name_no_cluster_has(unreachable: None) -> None:
    assert "namespace" in str(refusal(COMPILED / "a100.yaml", "-n", "Team_A")).lower()
