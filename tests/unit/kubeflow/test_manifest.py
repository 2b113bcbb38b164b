from collections.abc import Callable
from pathlib import Path

import yaml
from typer.testing import CliRunner

from stepworks.cli.main import app
from stepworks.kubeflow.compile import Compiled
from stepworks.kubeflow.ir.read import read_ir
from stepworks.kubeflow.manifest import manifest, manifest_path

ROOT = Path(__file__).parents[3]
FLAGSHIP = next((ROOT / "compiled/tabular_train_and_deploy").glob("*/a100.yaml"))


def test_the_objects_hold_the_two_documents_of_the_ir() -> None:
    version = FLAGSHIP.parent.name
    pipeline, pipeline_version = yaml.safe_load_all(
        manifest(Compiled("tabular_train_and_deploy", version, "a100", FLAGSHIP.read_text()))
    )
    specification, platform = yaml.safe_load_all(FLAGSHIP.read_text())
    assert pipeline["kind"] == "Pipeline"
    assert pipeline["apiVersion"] == pipeline_version["apiVersion"] == "pipelines.kubeflow.org/v2beta1"
    assert pipeline["metadata"] == {"name": "tabular-train-and-deploy"}
    assert pipeline_version["metadata"] == {"name": f"tabular-train-and-deploy-{version}-a100"}
    spec = pipeline_version["spec"]
    assert spec.pop("pipelineSpec") == specification
    assert spec.pop("platformSpec") == platform
    assert spec == {
        "displayName": f"{version}-a100",
        "pipelineName": "tabular-train-and-deploy",
        "description": specification["pipelineInfo"]["description"],
    }


def test_the_command_writes_them_beside_the_ir_and_they_can_be_read_back(
    write_pipeline: Callable[[str], Path], tmp_path: Path
) -> None:
    path = write_pipeline('@pipeline(version="1.0.0")\ndef tiny(n: int = 1):\n    place(add(a=n, b=1), "small")\n')
    output = tmp_path / "out"
    arguments = ["compile", str(path), "--targets", str(ROOT / "targets"), "--target", "a100", "--output", str(output)]
    result = CliRunner().invoke(app, [*arguments, "--format", "kubernetes"])
    assert result.exit_code == 0, result.output
    assert "kubectl apply" in result.output
    written = output / manifest_path(Compiled("tiny", "1.0.0", "a100", ""))
    kept = output / "tiny" / "1.0.0" / "a100.yaml"
    assert [task.path for task in read_ir(written).tasks] == [task.path for task in read_ir(kept).tasks]
    assert CliRunner().invoke(app, [*arguments, "--check"]).exit_code == 0
    fresh = written.read_text()
    written.write_text(fresh.replace("displayName: 1.0.0-a100", "displayName: other"))
    assert "is not what" in str(CliRunner().invoke(app, [*arguments, "--check"]).exception)
    written.with_name("gone.yaml").write_text(fresh)
    written.write_text(fresh)
    assert "of no compiled file" in str(CliRunner().invoke(app, [*arguments, "--check"]).exception)
