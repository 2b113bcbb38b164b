"""The way to Kubeflow as a user types it, against a server that answers as a real one."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stepworks.cli.main import app
from stepworks.errors import StepworksError, UserError
from stepworks.kubeflow.pipeline import load_pipeline
from tests.kfp_server import KfpServer, kfp_server

RECORDED = (Path(__file__).parents[2] / "data" / "kfp_recorded_pipeline.yaml").read_text()


@pytest.fixture
def kfp() -> Iterator[KfpServer]:
    with kfp_server() as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for target in ("a100", "mig"):
        path = tmp_path / "compiled" / "rows" / "0.1.0" / f"{target}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(RECORDED)
    return tmp_path


def environment(**variables: str) -> dict[str, str]:
    return {**os.environ, "COLUMNS": "200", **variables}


def stepworks(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stepworks", *arguments],
        cwd=folder,
        env=environment(**variables),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_upload_schedule_list_pause_and_delete(kfp: KfpServer, folder: Path) -> None:
    host = {"KF_PIPELINES_ENDPOINT": kfp.url}
    first = stepworks(folder, "upload", "rows", "--target", "a100", **host)
    assert first.returncode == 0, first.stderr
    assert "0.1.0-a100  uploaded" in first.stdout
    assert "unchanged" in stepworks(folder, "upload", "-t", "a100", **host).stdout
    made = stepworks(
        folder, "schedule", "rows", "--version", "0.1.0", "-t", "a100", "--cron", "0 3 * * *", "-p", "rows=4", **host
    )
    assert made.returncode == 0, made.stderr
    assert "rows  created" in made.stdout
    assert "0 0 3 * * *" in made.stdout
    assert made.stdout.count("03:00") == 5
    listed = stepworks(folder, "schedules", **host).stdout
    assert "enabled" in listed
    assert "0 3 * * *" in listed
    assert "paused" in stepworks(folder, "schedules", "pause", "rows", **host).stdout
    assert not kfp.enabled()
    assert "resumed" in stepworks(folder, "schedules", "resume", "rows", **host).stdout
    assert len(kfp.enabled()) == 1
    assert "deleted" in stepworks(folder, "schedules", "delete", "rows", **host).stdout
    assert not kfp.recurring_runs
    assert "no schedules" in stepworks(folder, "schedules", **host).stdout


def run_in_background(folder: Path, kfp: KfpServer) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "stepworks", "run", "rows", "--host", kfp.url, "-t", "a100", "-p", "rows=4"],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_run(kfp: KfpServer) -> dict[str, object]:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        looked = any(path.startswith("runs/") for _, path in kfp.calls)
        if kfp.runs and looked:
            return next(iter(kfp.runs.values()))
        time.sleep(0.05)
    raise AssertionError("no run was started")


@pytest.mark.parametrize(("state", "code"), [("SUCCEEDED", 0), ("FAILED", 1), ("CANCELED", 1)])
def test_a_run_ends_with_the_code_of_its_outcome(kfp: KfpServer, folder: Path, state: str, code: int) -> None:
    process = run_in_background(folder, kfp)
    run = wait_for_run(kfp)
    run["state"] = state
    output, errors = process.communicate(timeout=30)
    assert process.returncode == code
    assert f"#/runs/details/{run['run_id']}" in output
    assert ("succeeded" in output) == (code == 0)
    assert bool(errors) == (code != 0)


def test_an_interrupt_leaves_the_run_going(kfp: KfpServer, folder: Path) -> None:
    process = run_in_background(folder, kfp)
    run = wait_for_run(kfp)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "the run goes on" in errors
    assert run["state"] == "PENDING"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["upload", "rows"], ["several targets", "a100, mig"]),
        (["upload", "row", "-t", "a100"], ["no compiled pipeline row"]),
        (["upload", "rows", "-t", "a100", "--host", "localhost"], ["http(s)://"]),
        (["upload", "rows", "-t", "a100"], ["no host", "port-forward"]),
        (["upload", "rows", "-t", "a100", "--host", "http://127.0.0.1:9"], ["Cannot reach", "127.0.0.1:9"]),
        (["run", "rows", "--host", "http://127.0.0.1:9", "-t", "a100", "-p", "rows=x"], ["rows", "'x'", "int"]),
        (["schedule", "rows", "--version", "0.1.0", "-t", "a100", "-p", "rows=1"], ["cron", "interval"]),
        (["schedule", "rows", "--version", "0.1.0", "-t", "a100", "--cron", "x", "-p", "rows=1"], ["five fields"]),
        (["schedule", "rows", "-t", "a100", "--cron", "0 3 * * *"], ["--version"]),
        (["run", "rows", "--version", "0.1.0", "--target", "a100"], ["--version and --target", "add --host"]),
        (["run", "rows", "--host", "http://127.0.0.1:9", "--keep-serving"], ["--keep-serving", "on this machine"]),
        (["run", "rows", "--target", "a100"], ["--target", "add --host", "add --cluster"]),
        (["run", "rows", "--cluster", "--rehearse-roll-back"], ["--rehearse-roll-back", "leave out --cluster"]),
        (["run", "rows", "--cluster", "--host", "http://127.0.0.1:9"], ["--cluster", "on a test bed"]),
        (["upload", "--compiled", "nothing"], ["no compiled pipeline in nothing/"]),
        (["deploy", "nowhere"], ["environments/nowhere.yaml"]),
    ],
)
def test_a_mistake_is_exit_code_2_and_one_message(
    folder: Path, arguments: list[str], told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    ended = CliRunner().invoke(app, arguments)
    code = ended.exception.exit_code if isinstance(ended.exception, StepworksError) else ended.exit_code
    assert code == 2
    for text in told:
        assert text in f"{ended.output}{ended.exception}"


def test_a_token_is_in_no_output(folder: Path) -> None:
    with kfp_server(token="right") as kfp:
        ended = stepworks(
            folder,
            "upload",
            "rows",
            "-t",
            "a100",
            "--host",
            kfp.url,
            "--token-from",
            "env:KFP_TOKEN",
            KFP_TOKEN="wrong-1",
        )
        assert ended.returncode == 2
        assert "401" in ended.stderr
        assert "wrong-1" not in ended.stderr + ended.stdout
        assert not kfp.writes()


def test_a_stale_file_is_not_uploaded(kfp: KfpServer, tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    version = load_pipeline("tabular_train_and_deploy").version
    place = tmp_path / "compiled" / "tabular_train_and_deploy" / version / "a100.yaml"
    place.parent.mkdir(parents=True)
    place.write_bytes((root / "compiled" / "tabular_train_and_deploy" / version / "a100.yaml").read_bytes())
    command = [
        "upload",
        "--compiled",
        str(tmp_path / "compiled"),
        "--targets",
        str(root / "targets"),
        "--host",
        kfp.url,
    ]
    assert CliRunner().invoke(app, command).exit_code == 0
    with place.open("a") as file:
        file.write("# stale\n")
    ended = CliRunner().invoke(app, command)
    assert isinstance(ended.exception, UserError)
    assert "Run stepworks compile" in str(ended.exception)


def test_a_pipeline_of_a_file_is_found_by_its_name(
    kfp: KfpServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    (folder / "mine.py").write_text(
        "from stepworks.kubeflow.pipeline import pipeline\n"
        '@pipeline(version="9.9.9")\ndef rows(rows: int = 1) -> None:\n    """Rows."""\n'
    )
    ended = CliRunner().invoke(app, ["run", "mine.py", "--host", kfp.url, "-t", "a100", "-p", "rows=x"])
    assert "The parameter rows has a value of the wrong type" in str(ended.exception)


def test_the_version_is_shown() -> None:
    assert CliRunner().invoke(app, ["--version"]).output.startswith("stepworks ")
