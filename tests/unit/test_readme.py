"""What README.md and the documents say can be done, done."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_step_that_the_readme_writes_runs_and_compiles(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text()
    (code,) = re.findall(r"```python\n(# my_pipeline.py.*?)```", readme, re.DOTALL)
    commands = re.findall(r"^\.venv/bin/stepworks (.*my_pipeline\.py.*)$", readme, re.MULTILINE)
    assert len(commands) == 2
    (tmp_path / "my_pipeline.py").write_text(code)
    printed = []
    for command in commands:
        arguments = command.split()
        options = ["--targets", str(ROOT / "targets")] if arguments[0] == "compile" else []
        command_line = [sys.executable, "-m", "stepworks", *arguments, *options]
        printed.append(subprocess.run(command_line, cwd=tmp_path, check=True, capture_output=True, text=True).stdout)
    assert "add-up gave Output: 4950" in printed[0]
    assert (tmp_path / "my_compiled/my_pipeline/1.0.0/a100.yaml").exists()


def test_every_page_that_is_linked_is_there() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md")]:
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name} links {link}"


def test_the_target_in_the_documents_is_a_target(tmp_path: Path) -> None:
    from stepworks.placement.target import Target

    text = re.findall(r"```yaml\n(name: a100.*?)```", (ROOT / "docs/targets.md").read_text(), re.DOTALL)[0]
    (tmp_path / "a100.yaml").write_text(text)
    assert Target.read(tmp_path / "a100.yaml").placement("training").accelerator


def test_the_environment_in_the_documents_is_an_environment(tmp_path: Path) -> None:
    from stepworks.kubeflow.delivery.environment import Environment

    (text,) = re.findall(r"```yaml\n(name: production.*?)```", (ROOT / "docs/delivery.md").read_text(), re.DOTALL)
    (tmp_path / "production.yaml").write_text(text)
    assert Environment.read(tmp_path / "production.yaml").schedules[0].cron == "0 3 * * *"
