"""A pipeline whose steps are pods of a test bed, by `stepworks run --cluster`."""

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from stepworks.cli.main import app
from stepworks.errors import ConfigurationError, StepFailedError, WorkloadFailedError
from stepworks.kube.api.cluster import Cluster
from stepworks.kubeflow.pods.bed import require_test_bed
from stepworks.kubeflow.pods.runner import PodAttempt
from stepworks.kubeflow.pods.task_pod import task_pod
from stepworks.report.run_record import RunRecord
from testbed.bed import Bed
from tests import pod_namespaces
from tests.control_plane.pods import pods
from tests.control_plane.serving.conftest import claim
from tests.waiting import wait_for

in_namespaces = pytest.mark.skipif(
    pod_namespaces.MISSING, reason="pods have hostnames of their own as root on Linux only"
)

TARGET = {
    "name": "small",
    "images": {"cpu": "registry.example.com/stepworks/cpu:0.1.0"},
    "placements": {
        "cpu": {"cpu": {"request": "1", "limit": "2"}, "memory": {"request": "1Gi", "limit": "1Gi"}, "cache": False}
    },
    "roles": {"small": "cpu"},
    "claims": {"notes": {"claim": "notes", "mount_path": "/mnt/notes", "access_mode": "ReadWriteMany"}},
}
STEPS = '''
from kfp.dsl import Artifact, Input, Output
from stepworks.kubeflow.component import component
from stepworks.kubeflow.pipeline import claim_path, pipeline
from stepworks.kubeflow.place import place


@component("cpu")
def write(text: str, notes: str, written: Output[Artifact]) -> None:
    """Write a text to an artifact, and where it is to a claim."""
    import os, pathlib, socket
    pathlib.Path(written.path).write_text(text)
    pathlib.Path(notes, "host").write_text(socket.gethostname())
    print("a supervisor:", os.environ.get("STEPWORKS_SUPERVISOR"))


@component("cpu")
def check(written: Input[Artifact], notes: str, expected: str = "nothing") -> str:
    """See that the other step has written."""
    import pathlib, socket
    from stepworks.errors import DataError
    text, host = pathlib.Path(written.path).read_text(), pathlib.Path(notes, "host").read_text()
    if text != expected:
        raise DataError("The text is another", received=text, expected=expected, what_to_do="Write it again.")
    return f"{host} wrote it, {socket.gethostname()} read it"


@component("cpu")
def sleep(notes: str) -> None:
    """Sleep, and tell of SIGTERM."""
    import pathlib, signal, sys, time
    def end(*_):
        pathlib.Path(notes, "told").touch()
        sys.exit(1)
    signal.signal(signal.SIGTERM, end)
    pathlib.Path(notes, "asleep").touch()
    time.sleep(600)


@pipeline(version="1.0.0")
def two(text: str = "hello"):
    """Write and read."""
    first = place(write(text=text, notes=claim_path("notes")), "small", mounts=["notes"])
    place(check(written=first.outputs["written"], notes=claim_path("notes")), "small", mounts=["notes"])
'''
SLEEPING = (
    STEPS[: STEPS.index("@pipeline")]
    + '''
@pipeline(version="1.0.0")
def sleeping():
    """Sleep."""
    place(sleep(notes=claim_path("notes")), "small", mounts=["notes"])
'''
)


@pytest.fixture
def notes(process_bed: Bed, process_cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the claim, in a namespace whose kubeconfig and target `stepworks` finds."""
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets" / "small.yaml").write_text(yaml.safe_dump(TARGET))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(process_bed.kubeconfig))
    return claim(process_bed, process_cluster, "notes")


def arguments(text: str, namespace: str, *more: str) -> list[str]:
    """The arguments of `stepworks` that run a pipeline of this text."""
    Path("steps.py").write_text(text)
    where = ["--cluster", "--target", "small", "--namespace", namespace, "--service-account", "default"]
    return ["run", "steps.py", *where, *more]


def run(cluster: Cluster, *more: str) -> Result:
    return CliRunner().invoke(app, arguments(STEPS, cluster.namespace, *more))


def record() -> RunRecord:
    (path,) = Path(".stepworks/runs").glob("*/run.json")
    return RunRecord.model_validate_json(path.read_bytes())


@in_namespaces
def test_the_steps_run_as_pods_and_hand_over_artifacts_and_a_claim(notes: Path, process_cluster: Cluster) -> None:
    ended = run(process_cluster, "-p", "text=good morning", "-p", "check.expected=good morning")
    assert ended.exit_code == 0, ended.output
    assert [(step.name, step.state) for step in record().steps] == [("write", "succeeded"), ("check", "succeeded")]
    assert record().parameters == {"text": "good morning", "check.expected": "good morning"}
    run_id = record().run_id.removeprefix("two-")
    assert f"write-{run_id} wrote it, check-{run_id} read it" in ended.output
    (log,) = Path(".stepworks/runs").glob("*/logs/write.log")
    assert "a supervisor: None" in log.read_text()
    assert (notes / "host").read_text() == f"write-{run_id}"
    wait_for("no pod is left", lambda: not pods(process_cluster))


@in_namespaces
def test_a_step_that_fails_ends_the_run_with_its_page(notes: Path, process_cluster: Cluster) -> None:
    ended = run(process_cluster)
    assert isinstance(ended.exception, StepFailedError)
    for text in ("The step check failed", "The text is another", "Received: hello", "What to do: Write it again."):
        assert text in str(ended.exception)
    assert [step.state for step in record().steps] == ["succeeded", "failed"]
    assert (notes / "host").exists()
    wait_for("no pod is left", lambda: not pods(process_cluster))


@in_namespaces
def test_an_interrupted_run_tells_its_step_and_leaves_no_pod(notes: Path, process_cluster: Cluster) -> None:
    command = [sys.executable, "-m", "stepworks", *arguments(SLEEPING, process_cluster.namespace)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wait_for("the step sleeps", (notes / "asleep").exists)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "the pods of the run were deleted" in errors
    assert pods(process_cluster) == []
    assert (notes / "told").exists()
    assert record().state == "cancelled"


def attempt(
    cluster: Cluster, folder: Path, *command: str, resources: dict[str, str] | None = None, **settings: Any
) -> PodAttempt:
    """An attempt of a step that is a command."""
    container = {
        "image": "registry.example.com/stepworks/cpu:0.1.0",
        "command": command,
        "resources": resources or {},
    }
    executor = {"container": container}
    pod = task_pod("lonely", executor, settings, "{}", service_account="default", folder=folder)
    return PodAttempt(cluster, pod, folder / "log", scheduling_seconds=0.0)


def test_a_pod_without_a_node_is_explained_in_the_log(process_cluster: Cluster, tmp_path: Path) -> None:
    stuck = attempt(process_cluster, tmp_path, "true", nodeSelector={"labels": {"gpu-type": "b200"}})
    with pytest.raises(WorkloadFailedError, match="there is no node for the pod lonely") as caught:
        stuck.wait()
    assert str(caught.value) in (tmp_path / "log").read_text()
    stuck.end(0.0)
    assert pods(process_cluster) == []


def test_of_an_attempt_that_was_ended_nothing_is_left(process_cluster: Cluster, tmp_path: Path) -> None:
    log = tmp_path / "log"
    sleeping = attempt(process_cluster, tmp_path, "sh", "-c", "echo asleep; sleep 600")
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(sleeping.wait)
        wait_for("it sleeps", lambda: log.exists() and "asleep" in log.read_text())
        sleeping.signal(signal.SIGTERM)
        sleeping.end(0.0)
        assert pods(process_cluster) == []
        assert waiting.result(timeout=30).exit_code < 0


@in_namespaces
def test_a_memory_limit_that_was_passed_is_told_by_a_page(process_cluster: Cluster, tmp_path: Path) -> None:
    resources = {"resourceMemoryLimit": "64Mi"}
    greedy = attempt(process_cluster, tmp_path, "python", "-c", "x = bytearray(1 << 30)", resources=resources)
    ended = greedy.wait()
    assert ended.exit_code == -signal.SIGKILL
    assert "used more memory than its limit" in ended.page
    assert ended.page in (tmp_path / "log").read_text()
    greedy.end(0.0)


def test_a_cluster_that_does_not_see_our_folders_is_refused(cluster: Cluster) -> None:
    with pytest.raises(ConfigurationError, match="no test bed"):
        require_test_bed(cluster)
