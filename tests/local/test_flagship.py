"""The flagship end to end on this machine, twice in a row, with real servers."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stepworks.registry.registry import Registry
from stepworks.report.canary_document import CanaryDocument
from stepworks.report.documents import (
    ComparisonDocument,
    Document,
    EvaluationDocument,
    ServingCheckDocument,
    VerdictDocument,
    find_document,
)
from tests.browser import Tab, assert_report_is_right
from tests.local.flagship import Ended, run_flagship
from tests.processes import marked
from tests.waiting import wait_for

pytestmark = pytest.mark.slow

STEPS = [
    "ingest-table", "validate-table", "profile-table", "split-table", "transform-table", "train", "evaluate",
    "compare", "gate", "package-model", "check-serving", "register-model", "deploy", "roll-out-canary",
]  # fmt: skip


def document(ended: Ended, name: str) -> Document:
    (path,) = ended.folder.glob(f"artifacts/*/*/{name}")
    found = find_document(path)
    assert found
    return found


def test_every_step_of_the_first_run_succeeds(first: Ended) -> None:
    assert first.exit_code == 0, first.errors
    assert sorted(step.name for step in first.record.steps) == sorted(STEPS)
    assert {step.state for step in first.record.steps} == {"succeeded"}
    assert first.record.data_digest


def test_the_model_is_ahead_of_the_historical_rate_and_passes_the_gate(first: Ended) -> None:
    evaluation = document(first, "evaluation")
    assert isinstance(evaluation, EvaluationDocument)
    auc = evaluation.metrics[0]
    assert auc.name == "auc"
    assert auc.low is not None
    assert auc.low > 0.6
    comparison = document(first, "comparison")
    assert isinstance(comparison, ComparisonDocument)
    (baseline,) = comparison.comparisons
    assert baseline.difference.low is not None
    assert baseline.difference.low > 0
    verdict = document(first, "verdict")
    assert isinstance(verdict, VerdictDocument)
    assert verdict.verdict == "pass"


def test_the_served_answers_are_the_offline_answers(first: Ended) -> None:
    check = document(first, "check")
    assert isinstance(check, ServingCheckDocument)
    assert check.rows >= 50
    assert check.largest_difference <= 1e-5


def test_the_run_ends_with_metrics_a_report_and_the_commands_that_serve_and_ask(first: Ended) -> None:
    for text in ("AUC", "95 % interval", "Gate: pass", "report.html", " serve ", " ask http", "Asked"):
        assert text in first.output
    asked = re.search(r"probability (0\.\d+), offline (0\.\d+)", first.output)
    assert asked
    assert asked[1] == asked[2]


def test_the_rehearsed_bad_canary_was_rolled_back(first: Ended) -> None:
    assert "Rehearsed roll-back: rolled back" in first.output
    assert "rehearsal" in (first.folder / "report.html").read_text().lower()


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_of_the_run_in_a_browser(first: Ended, tab: Tab, scheme: str) -> None:
    assert_report_is_right(tab, first.folder / "report.html", scheme=scheme, width=1280)


def test_the_second_run_is_a_canary_against_the_first(second: Ended, home: Path) -> None:
    assert second.exit_code == 0, second.errors
    comparison = document(second, "comparison")
    assert isinstance(comparison, ComparisonDocument)
    assert len(comparison.comparisons) == 2
    canary = document(second, "canary")
    assert isinstance(canary, CanaryDocument)
    assert canary.stable_version == "1"
    assert canary.outcome == "promoted"
    assert len(canary.stages) > 1
    assert all(stage.stable for stage in canary.stages if stage.percent < 100)
    champion = Registry(home / "claims" / "registry").champion("late-flights")
    assert champion
    assert champion.version == 2


def test_the_same_training_gives_the_same_model(first: Ended, second: Ended) -> None:
    (one,) = first.folder.glob("artifacts/*/train/trained_model/model.safetensors")
    (other,) = second.folder.glob("artifacts/*/train/trained_model/model.safetensors")
    assert one.read_bytes() == other.read_bytes()


def test_the_server_that_was_kept_answers_and_nothing_else_is_left(second: Ended, home: Path) -> None:
    told = re.search(r"stays up at (\S+) \(process (\d+)\)", second.output)
    assert told
    url, process = told[1], int(told[2])
    try:
        assert {each.pid for each in marked(home)} == {process}
        package = home / "claims" / "registry" / "late-flights" / "2" / "package"
        asked = subprocess.run(
            [sys.executable, "-m", "stepworks", "ask", url, str(package), "--name", "late-flights", "--rows", "2"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        answers = re.findall(r"(0\.\d{6})\s+(0\.\d{6})", asked.stdout)
        assert len(answers) == 2
        assert all(abs(float(answer) - float(recorded)) < 1e-5 for answer, recorded in answers)
    finally:
        os.kill(process, signal.SIGTERM)
    wait_for("no process is left", lambda: not marked(home))


def test_a_model_is_served_again_from_the_registry_and_a_used_port_is_told(first: Ended, home: Path) -> None:
    assert first.exit_code == 0
    package = home / "claims" / "registry" / "late-flights" / "1" / "package"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        refused = subprocess.run(
            [sys.executable, "-m", "stepworks", "serve", str(package), "--port", port],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert refused.returncode == 1
    assert port in refused.stderr
    assert "--port" in refused.stderr
    server = subprocess.Popen([sys.executable, "-m", "stepworks", "serve", str(package), "--port", port])
    try:
        ask = [sys.executable, "-m", "stepworks", "ask", f"http://127.0.0.1:{port}", str(package), "--rows", "1"]
        deadline = time.monotonic() + 60
        while subprocess.run(ask, capture_output=True, check=False).returncode:
            assert time.monotonic() < deadline, "the server did not answer"
            assert server.poll() is None
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(timeout=20)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("no folder", ["no-such-folder", "Received"]),
        ("missing column", ["weather.csv", "visib"]),
        ("wrong type", ["planes.csv", "seats", "many"]),
        ("empty file", ["airports.csv"]),
        ("truncated zip", ["flights.csv.zip"]),
        ("one class", ["class"]),
    ],
)
def test_bad_data_ends_the_run_with_a_page(flights: Path, tmp_path: Path, fault: str, told: list[str]) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for path in flights.glob("*"):
        (source / path.name).symlink_to(path)

    def rewrite(name: str, content: bytes) -> None:
        (source / name).unlink()
        (source / name).write_bytes(content)

    if fault == "missing column":
        rewrite("weather.csv", (flights / "weather.csv").read_bytes().replace(b"visib", b"sight", 1))
    elif fault == "wrong type":
        rewrite("planes.csv", (flights / "planes.csv").read_bytes().replace(b",55,", b",many,", 1))
    elif fault == "empty file":
        rewrite("airports.csv", b"")
    elif fault == "truncated zip":
        rewrite("flights.csv.zip", (flights / "flights.csv.zip").read_bytes()[:-5000])
    options = ["-p", f"source={tmp_path / 'no-such-folder' if fault == 'no folder' else source}"]
    if fault == "one class":
        contract = Path(__file__).parents[2] / "pipelines" / "contracts" / "nycflights13.yaml"
        (tmp_path / "contract.yaml").write_text(contract.read_text().replace("arr_delay > 15", "arr_delay > 15000"))
        options += ["-p", f"contract={tmp_path / 'contract.yaml'}"]
    ended = run_flagship(tmp_path / "home", *options)
    assert ended.exit_code == 1
    assert "Traceback" not in ended.errors
    for text in [*told, "What to do", "The report of the run"]:
        assert text in ended.errors
    assert (ended.folder / "report.html").exists()
    assert json.loads((ended.folder / "run.json").read_text())["state"] == "failed"


def test_a_worse_model_does_not_pass_the_gate(home: Path, quick: list[str], second: Ended) -> None:
    """A model that learns nothing is compared with the champion and refused, and nothing is deployed."""
    assert second.exit_code == 0
    ended = run_flagship(home, *quick, "-p", "learning_rate=1e-9")
    assert ended.exit_code == 1
    assert "The step gate failed" in ended.errors
    states = {step.name: step.state for step in ended.record.steps}
    assert states["deploy"] == states["register-model"] == "skipped"
    assert len(list((home / "claims" / "registry" / "late-flights").glob("[0-9]*"))) == 2
