"""The command as a user types it: exit codes and messages."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from stepworks.cli.main import app

ROOT = Path(__file__).parents[3]


def stepworks(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stepworks", *arguments],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_the_help_names_every_command() -> None:
    shown = stepworks("--help").stdout
    assert all(command in shown for command in ("pipelines", "run", "compile", "serve", "ask"))


def test_the_pipelines_are_listed_and_one_shows_its_parameters() -> None:
    assert "tabular_train_and_deploy" in stepworks("pipelines").stdout
    shown = stepworks("pipelines", "tabular_train_and_deploy").stdout
    assert "champion_margin" in shown
    assert "0.005" in shown


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "nonsense"], ["no pipeline nonsense", "tabular_train_and_deploy"]),
        (["run", "absent.py"], ["absent.py"]),
        (["run", "tabular_train_and_deploy", "-p", "epoch=3"], ["no parameter epoch", "epochs"]),
        (["run", "tabular_train_and_deploy", "-p", "epochs=three"], ["epochs", "'three'", "int"]),
        (["compile", "nonsense"], ["no pipeline nonsense"]),
        (["compile", "--target", "h100"], ["no target h100", "a100", "targets/h100.yaml"]),
        (["compile", "--targets", "absent"], ["no target in absent/"]),
        (["serve", "absent", "--port", "0"], ["absent"]),
        (["ask", "http://127.0.0.1:9", "absent"], ["absent"]),
        (["run"], ["Missing argument", "PIPELINE"]),
        (["no-such-command"], ["no-such-command"]),
    ],
)
def test_a_mistake_of_the_caller_is_exit_code_2_and_one_message(arguments: list[str], told: list[str]) -> None:
    ended = stepworks(*arguments)
    assert "Traceback" not in ended.stderr
    for text in told:
        assert text in ended.stderr
    assert ended.returncode == 2


def test_an_option_that_needs_a_deployed_model_is_refused_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text(
        "from stepworks.kubeflow.component import component\n"
        "from stepworks.kubeflow.pipeline import pipeline\n\n"
        "@component('cpu')\ndef nothing() -> None:\n    'Do nothing.'\n\n"
        "@pipeline(version='1.0.0')\ndef plain():\n    'Do nothing.'\n    nothing()\n"
    )
    ended = stepworks("run", "plain.py", "--keep-serving", cwd=tmp_path)
    assert ended.returncode == 2
    assert "deploys no model" in ended.stderr
    assert "nothing" not in ended.stdout


def test_compiling_twice_writes_once_and_the_check_follows_a_change(tmp_path: Path) -> None:
    output = ["--output", str(tmp_path)]
    assert "written" in stepworks("compile", *output).stdout
    assert "unchanged" in stepworks("compile", *output).stdout
    assert stepworks("compile", "--check", *output).returncode == 0
    path = next(tmp_path.glob("*/*/a100.yaml"))
    path.write_text(path.read_text().replace("gpu-type: a100-80gb", "gpu-type: a100-40gb"))
    stale = stepworks("compile", "--check", *output)
    assert stale.returncode == 2
    assert "-          nodeSelector: {labels: {gpu-type: a100-40gb}}" in stale.stderr
    assert "make compile" in stale.stderr


def test_the_committed_compiled_files_are_fresh() -> None:
    ended = stepworks("compile", "--check")
    assert ended.returncode == 0, ended.stderr


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ended = stepworks("compile", "--output", str(tmp_path / "file"))
    assert ended.returncode == 1
    assert "What to do" in ended.stderr


def test_compiling_imports_neither_torch_nor_polars_nor_a_model_server() -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom stepworks.cli.compile import compile_pipelines\n"
        "compile_pipelines([], [], Path('targets'), Path('compiled'), check=True)\n"
        "heavy = {'torch', 'polars', 'kserve', 'onnx', 'sklearn', 'matplotlib', 'pandas', 'numpy'}\n"
        "sys.exit(' '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_every_option_that_a_message_names_is_an_option() -> None:
    """A message that names an option which is gone sends its reader nowhere."""
    shown: set[str] = {"--help"}
    groups = [typer.main.get_command(app)]
    while groups:
        command = groups.pop()
        groups += getattr(command, "commands", {}).values()
        shown |= {option for parameter in command.params for option in parameter.opts}
    for path in (ROOT / "stepworks").rglob("*.py"):
        for call in re.findall(r"what_to_do=(.*?)\n\s*\)", path.read_text(), re.DOTALL):
            ours = re.sub(r"kubectl[^`]*", "", call)  # the options of its commands are its own
            named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", ours))
            assert named <= shown, f"{path.relative_to(ROOT)}: {named - shown}"
