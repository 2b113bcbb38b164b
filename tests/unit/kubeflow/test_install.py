"""The way without images: steps that install the library when they start."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from stepworks.errors import ConfigurationError
from stepworks.kubeflow.compile import compile_pipeline
from stepworks.kubeflow.pipeline import Pipeline
from stepworks.kubeflow.task_settings import install_command
from stepworks.placement.target import Target, install_requirement

TARGET = """
name: here
images: {{cpu: "python:3.12-slim"}}
install: {install}
placements:
  plain:
    cpu: {{request: "1", limit: "1"}}
    memory: {{request: 1Gi, limit: 1Gi}}
roles: {{small: plain}}
"""
PIPELINE = """
@pipeline(version="1.0.0")
def tiny(n: int = 1):
    place(add(a=n, b=1), "small")
"""


def read(tmp_path: Path, install: str) -> Target:
    path = tmp_path / "here.yaml"
    path.write_text(TARGET.format(install=install))
    return Target.read(path)


@pytest.mark.parametrize(
    ("install", "requirement"),
    [
        ("stepworks==0.1.0", "stepworks[gpu-image]==0.1.0"),
        ("stepworks >=0.1, <0.2", "stepworks[gpu-image]>=0.1,<0.2"),
        ("stepworks", "stepworks[gpu-image]"),
        (
            "https://files.example.com/w/stepworks-0.1.0-py3-none-any.whl",
            "stepworks[gpu-image] @ https://files.example.com/w/stepworks-0.1.0-py3-none-any.whl",
        ),
        (
            "/mnt/datasets/stepworks-0.1.0-py3-none-any.whl",
            "stepworks[gpu-image] @ file:///mnt/datasets/stepworks-0.1.0-py3-none-any.whl",
        ),
    ],
)
def test_a_step_installs_the_library_with_what_its_image_would_hold(install: str, requirement: str) -> None:
    assert install_requirement(install, "gpu") == requirement


@pytest.mark.parametrize("install", ["torch", "stepworks; rm -rf /", "stepworks-0.1.0-py3-none-any.whl", "git+ssh://x"])
def test_what_is_no_wheel_and_no_requirement_of_it_is_refused_with_the_line(tmp_path: Path, install: str) -> None:
    with pytest.raises(ConfigurationError, match=r"here\.yaml:4: install"):
        read(tmp_path, f"'{install}'")


def test_the_compiled_step_installs_and_then_runs(make_pipeline: Callable[[str], Pipeline], tmp_path: Path) -> None:
    compiled = compile_pipeline(make_pipeline(PIPELINE), read(tmp_path, "stepworks==0.1.0"))
    (executor,) = yaml.safe_load(compiled.text.partition("\n---\n")[0])["deploymentSpec"]["executors"].values()
    command = executor["container"]["command"]
    assert command[:2] == ["sh", "-ec"]
    assert "pip install" in command[2]
    assert "'stepworks[cpu-image]==0.1.0'" in command[2]
    assert command[3:5] == ["sh", "-ec"]
    assert executor["container"]["image"] == "python:3.12-slim"


def test_the_shell_hands_over_to_the_command(tmp_path: Path) -> None:
    """Run the command with a `python3` that notes what it is asked to install."""
    fake = tmp_path / "python3"
    fake.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\n')
    fake.chmod(0o755)
    command = [*install_command("stepworks[cpu-image]==0.1.0"), "sh", "-c", 'echo "$0 $1"', "one two", "three"]
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert ended.stdout == "one two three\n"
    assert (tmp_path / "asked").read_text().split()[-1] == "stepworks[cpu-image]==0.1.0"
    fake.write_text("#!/bin/sh\nexit 7\n")
    failed = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert (failed.returncode, failed.stdout) == (7, b"")


def test_the_linter_says_that_it_is_not_for_production(
    make_pipeline: Callable[[str], Pipeline], tmp_path: Path
) -> None:
    compiled = compile_pipeline(make_pipeline(PIPELINE), read(tmp_path, "stepworks==0.1.0"))
    path = tmp_path / "compiled.yaml"
    path.write_text(compiled.text)
    ended = subprocess.run(
        [sys.executable, "-m", "stepworks", "lint", str(path)], capture_output=True, text=True, check=False
    )
    assert "warning" in ended.stdout
    assert "I03" in ended.stdout
