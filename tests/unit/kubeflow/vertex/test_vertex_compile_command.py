"""Compiling for Vertex AI by the command: with the extra, without it, and what is imported."""

import subprocess
import sys
from pathlib import Path

import pytest

from stepworks.cli.compile import compile_pipelines
from stepworks.errors import ConfigurationError

ROOT = Path(__file__).parents[4]
VERTEX = Path("tabular_train_and_deploy") / "0.1.0" / "vertex.yaml"


@pytest.fixture
def without_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation without google-cloud-pipeline-components: Python finds no such module."""
    monkeypatch.setitem(sys.modules, "google_cloud_pipeline_components", None)


def compile_all(output: Path, *targets: str, check: bool = False, kubernetes: bool = False) -> None:
    compile_pipelines([], targets, ROOT / "targets", output, check=check, kubernetes=kubernetes)


def test_with_the_extra_vertex_is_a_target_like_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compile_all(tmp_path)
    assert (tmp_path / VERTEX).read_text() == (ROOT / "compiled" / VERTEX).read_text()
    assert "left as it is" not in capsys.readouterr().out


@pytest.mark.usefixtures("without_extra")
def test_without_the_extra_the_file_for_vertex_is_left_as_it_is_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / VERTEX).parent.mkdir(parents=True)
    (tmp_path / VERTEX).write_text("kept")
    compile_all(tmp_path)
    assert (tmp_path / VERTEX).read_text() == "kept"
    assert (tmp_path / VERTEX).with_name("a100.yaml").exists()
    said = capsys.readouterr().out
    assert "The target vertex is left as it is: compiling for Vertex AI takes pip install 'stepworks[vertex]'" in said
    compile_all(tmp_path, check=True)  # nor is the file left over
    assert "The target vertex is left as it is" in capsys.readouterr().out


@pytest.mark.usefixtures("without_extra")
@pytest.mark.parametrize("check", [False, True])
def test_without_the_extra_vertex_cannot_be_asked_for(check: bool, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="takes google-cloud-pipeline-components") as caught:
        compile_all(tmp_path, "vertex", check=check)
    assert caught.value.exit_code == 2
    assert "make compile-vertex" in caught.value.what_to_do


def test_there_are_no_kubernetes_objects_for_vertex(tmp_path: Path) -> None:
    compile_all(tmp_path, "a100", "vertex", kubernetes=True)
    assert {path.name for path in tmp_path.glob("*/*/kubernetes/*")} == {"a100.yaml"}


def test_compiling_for_kubeflow_imports_nothing_of_google_cloud() -> None:
    code = (
        "import sys; from pathlib import Path; from stepworks.placement.target import read_targets;"
        "from stepworks.kubeflow.compile import compile_pipeline;"
        "from stepworks.kubeflow.pipeline import load_pipelines;"
        "targets = read_targets(Path('targets'), sys.argv[1:]).values();"
        "[compile_pipeline(pipeline, target) for pipeline in load_pipelines().values() for target in targets"
        " if target.name in (pipeline.targets or [target.name])];"
        "print(*(name for name in sys.modules if name.startswith(('google.cloud.', 'google_cloud_pipeline'))))"
    )

    def imported(*targets: str) -> set[str]:
        command = [sys.executable, "-c", code, *targets]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        return set(done.stdout.split())

    assert imported("a100", "amd", "mig") == set()
    on_vertex = imported("vertex")
    assert "google_cloud_pipeline_components.v1.custom_job" in on_vertex
    # Its modules that take seconds are left alone.
    assert "google.cloud.aiplatform" not in on_vertex
