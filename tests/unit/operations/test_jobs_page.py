"""What docs/jobs.md says can be done, done."""

import re
import shlex
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from stepworks.cli.main import app
from stepworks.kube.builders.job import job_spec
from stepworks.kubeflow.compile import compile_pipeline
from stepworks.kubeflow.pipeline import load_pipeline
from stepworks.placement.pod_placement import PodPlacement
from stepworks.placement.target import Target
from testbed.settings import this_environment

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "jobs.md").read_text()
CPU: dict[str, Any] = {"cpu": {"request": 1, "limit": 1}, "memory": {"request": "1Gi", "limit": "1Gi"}}


def test_the_pipeline_compiles_and_its_job_gets_the_nodes_of_the_role(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(# convert.py.*?)```", PAGE, re.DOTALL)
    (tmp_path / "convert.py").write_text(code)
    content = Target.read(ROOT / "targets" / "a100.yaml").model_dump(exclude_unset=True)
    scratch = {"claim": "team-scratch", "mount_path": "/mnt/scratch", "access_mode": "ReadWriteMany"}
    target = Target.model_validate({**content, "claims": {"scratch": scratch}})
    ir = next(iter(yaml.safe_load_all(compile_pipeline(load_pipeline(str(tmp_path / "convert.py")), target).text)))
    (task,) = (
        each["dag"]["tasks"]["run-job"] for each in ir["components"].values() if "run-job" in str(each.get("dag", {}))
    )
    given = task["inputs"]["parameters"]["placement"]["runtimeValue"]["constant"]
    placement = PodPlacement.from_json(given).placement
    assert placement
    assert placement.node_selector == {"gpu-type": "a100-80gb"}


def test_the_first_job_compiles_and_runs_in_an_image_that_the_test_bed_has(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(# hello.py.*?)```", PAGE, re.DOTALL)
    (tmp_path / "hello.py").write_text(code)
    target = Target.read(ROOT / "targets" / "a100.yaml")
    ir = next(iter(yaml.safe_load_all(compile_pipeline(load_pipeline(str(tmp_path / "hello.py")), target).text)))
    image = ir["root"]["dag"]["tasks"]["run-job"]["inputs"]["parameters"]["image"]["runtimeValue"]["constant"]
    assert fnmatch(image, this_environment().pattern)


def test_the_sources_are_taken() -> None:
    (text,) = re.findall(r"```yaml\n(config_maps:.*?)```", PAGE, re.DOTALL)
    spec = job_spec(image="registry.example.com/team/convert:1.2", placement=CPU, **yaml.safe_load(text))
    assert (len(spec.config_maps), len(spec.secrets)) == (1, 1)


def test_the_commands_write_cron_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = re.findall(r"^stepworks (cronjob .*)$", PAGE, re.MULTILINE)
    assert len(commands) == 2
    monkeypatch.chdir(tmp_path)
    folders = ["--targets", str(ROOT / "targets")]
    for command in commands:
        words = shlex.split(command)
        more = [*folders, "--compiled", str(ROOT / "compiled")] if words[1] == "pipeline" else folders
        ended = CliRunner().invoke(app, [*words[:2], *more, *words[2:]], catch_exceptions=False)
        assert ended.exit_code == 0, ended.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cron-job.yaml", "report.yaml"]


def test_every_option_of_the_schedule_is_described() -> None:
    for command in ("pipeline", "job"):
        shown = CliRunner().invoke(app, ["cronjob", command, "--help"]).output
        options = set(re.findall(r"--[a-z-]+", shown)) - {
            "--help",
            "--compiled",
            "--targets",
            "--output",
            "--parameter",
        }
        absent = {option for option in options if option not in PAGE} - {"--experiment", "--name"}
        assert absent == set()
