"""The launcher with real torchrun: how runs end, what is told, and that nothing is left."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from stepworks.errors import ConfigurationError, StepworksError, TrainingError
from stepworks.training.launch import run
from stepworks.training.metrics import read_metrics
from stepworks.training.spec import TrainingSpec
from stepworks.training.workspace import Workspace
from tests.processes import MARK, marked
from tests.training.ranks import losses, outcome_of, small_spec
from tests.training.small import FAULTS

ROOT = Path(__file__).parents[2]
LAUNCHER = """
import sys
from pathlib import Path
from stepworks.training.launch import run
from stepworks.training.spec import TrainingSpec
from stepworks.training.workspace import Workspace
run(TrainingSpec.read(Path(sys.argv[1])), Workspace(Path(sys.argv[2])), processes=2)
"""


@pytest.fixture
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Marks what this test starts, and has it find the small model."""
    monkeypatch.setenv(MARK, str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return str(tmp_path)


def launcher(spec: TrainingSpec, root: Path) -> subprocess.Popen[str]:
    """The launcher in a process of its own."""
    spec.write(root / "given.json")
    command = [sys.executable, "-c", LAUNCHER, str(root / "given.json"), str(root)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def others(mark: str) -> list[int]:
    return [process.pid for process in marked(mark) if process.pid != os.getpid()]


def steps(workspace: Workspace) -> list[int]:
    return [line["step"] for line in read_metrics(workspace.metrics) if line["kind"] == "step"]


def test_sigterm_is_handed_on_and_the_next_attempt_resumes(
    tmp_path: Path, mark: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = small_spec(tmp_path, epochs=3, strategy="fsdp")
    workspace = Workspace(tmp_path / "run")
    monkeypatch.setenv(FAULTS, "sleep 2@train:6")  # so that the signal does not come after the end
    process = launcher(spec, workspace.root)
    wait_for(lambda: len(steps(workspace)) >= 3)
    process.send_signal(signal.SIGTERM)
    printed, told = process.communicate(timeout=90)
    assert process.returncode == 1
    committed = outcome_of(workspace).committed_step
    assert committed is not None
    assert f"training resumes after step {committed}." in told
    assert "Training tests.training.small:build_model on 2 x cpu, fsdp" in printed
    assert others(mark) == []
    monkeypatch.delenv(FAULTS)
    outcome = run(spec, workspace, processes=2)
    assert outcome.state == "completed"
    assert f"Resumed after step {committed}," in capsys.readouterr().out
    assert list(losses(workspace)) == list(range(1, 16))
    assert others(mark) == []


def test_a_command_that_is_killed_or_has_kept_its_state_may_be_tried_again(tmp_path: Path, mark: str) -> None:
    workspace = Workspace(tmp_path / "run")
    with pytest.raises(TrainingError, match=r"SIGKILL of sh -c kill -9(?s:.*)memory limit"):
        run(TrainingSpec(command=["sh", "-c", "kill -9 $$"]), workspace)
    with pytest.raises(TrainingError, match="was ended by SIGTERM"):
        run(TrainingSpec(command=["sh", "-c", "exit 75"]), workspace)
    assert outcome_of(workspace).state == "preempted"
    assert not workspace.permanent_error.exists()


def test_a_command_of_several_processes_that_fails_may_only_have_lost_another(tmp_path: Path, mark: str) -> None:
    workspace = Workspace(tmp_path / "run")
    script = "test $RANK = 1 && sleep 60; echo Connection closed by peer; exit 1"
    with pytest.raises(TrainingError, match="Connection closed by peer"):
        run(TrainingSpec(command=["sh", "-c", script], grace_seconds=5), workspace, processes=2)
    outcome = outcome_of(workspace)
    assert (outcome.rank, outcome.lost_peer, outcome.permanent) == (0, True, False)


def test_no_command_is_left_of_a_launcher_that_is_killed(tmp_path: Path, mark: str) -> None:
    script = f"touch {tmp_path}/up-$RANK; sleep 1000"
    process = launcher(TrainingSpec(command=["sh", "-c", script]), tmp_path / "run")
    wait_for(lambda: len(list(tmp_path.glob("up-*"))) == 2)
    process.kill()
    process.communicate()
    wait_for(lambda: others(mark) == [])


def test_no_command_is_left_of_a_rank_that_is_killed(tmp_path: Path, mark: str) -> None:
    with pytest.raises(TrainingError, match="was ended by SIGKILL"):
        run(TrainingSpec(command=["sh", "-c", "kill -9 $PPID; sleep 1000"]), Workspace(tmp_path / "run"))
    wait_for(lambda: others(mark) == [])


def test_nothing_is_left_of_a_launcher_that_is_killed(tmp_path: Path, mark: str) -> None:
    spec = small_spec(tmp_path, epochs=100_000)
    workspace = Workspace(tmp_path / "run")
    process = launcher(spec, workspace.root)
    wait_for(lambda: len(steps(workspace)) >= 3)
    assert len(others(mark)) == 4  # itself, torchrun, and two ranks
    process.kill()
    process.communicate()
    wait_for(lambda: others(mark) == [])


@pytest.mark.parametrize(
    ("fault", "problem", "received"),
    [
        ("KILL@train:5:1", "The training process 1 was ended by SIGKILL", "log"),
        ("STOP@train:5:1", "was ended by SIGKILL", r"(?i)timed out.* \(process 0\)"),
        (
            "raise@train:3:1",
            "The training code failed",
            "(?s)ValueError: the fault that.*raise ValueError",
        ),
    ],
)
def test_a_rank_that_fails_is_named_with_its_log(
    tmp_path: Path, mark: str, monkeypatch: pytest.MonkeyPatch, fault: str, problem: str, received: str
) -> None:
    monkeypatch.setenv(FAULTS, fault)
    spec = small_spec(tmp_path, timeout_seconds=20, grace_seconds=3)
    with pytest.raises(TrainingError, match=problem) as caught:
        run(spec, Workspace(tmp_path / "run"), processes=2)
    assert re.search(received, caught.value.received), caught.value
    assert "rank-" in caught.value.what_to_do
    assert others(mark) == []


def test_a_permanent_error_is_told_at_once_by_later_attempts_until_the_spec_is_changed(
    tmp_path: Path, mark: str
) -> None:
    workspace = Workspace(tmp_path / "run")
    wrong = TrainingSpec(command=["false"])
    with pytest.raises(TrainingError, match="exit code 1 of false"):
        run(wrong, workspace)
    with pytest.raises(TrainingError, match="another would, too"):
        run(wrong, workspace)
    script = 'mkdir -p "$STEPWORKS_MODEL" && echo "$STEPWORKS_INPUT_BASE" > "$STEPWORKS_MODEL/x"'
    right = TrainingSpec(command=["sh", "-c", script], inputs={"base": "base"})
    assert run(right, workspace).state == "completed"
    assert (workspace.model / "x").read_text().strip() == str(workspace.inputs / "base")


def test_a_command_that_leaves_no_model_has_failed(tmp_path: Path, mark: str) -> None:
    with pytest.raises(TrainingError, match="left no model"):
        run(TrainingSpec(command=["true"]), Workspace(tmp_path / "run"))


def test_training_is_no_step_so_that_its_modules_may_import_all_of_kfp(
    tmp_path: Path, mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_KFP_RUNTIME", "true")
    workspace = Workspace(tmp_path / "run")
    script = f'printenv _KFP_RUNTIME > {tmp_path}/told; mkdir -p "$STEPWORKS_MODEL"; touch "$STEPWORKS_MODEL/x"'
    run(TrainingSpec(command=["sh", "-c", script]), workspace)
    assert (tmp_path / "told").read_text() == ""


@pytest.mark.parametrize("form", [{"command": ["true"]}, {"entrypoint": "builtins:repr"}])
def test_a_model_that_an_earlier_attempt_left_is_not_taken_for_this_ones(
    tmp_path: Path, mark: str, form: dict[str, object]
) -> None:
    workspace = Workspace(tmp_path / "run")
    workspace.model.mkdir(parents=True)
    (workspace.model / "half-written").touch()
    with pytest.raises(TrainingError, match="left no model"):
        run(TrainingSpec(**form), workspace)


def test_a_command_gets_sigterm_once_and_its_children_do_not_outlive_it(tmp_path: Path, mark: str) -> None:
    workspace = Workspace(tmp_path / "run")
    script = f"""
    trap 'echo got it >> {tmp_path}/got; exit 0' TERM
    sleep 1000 & touch {tmp_path}/up-$RANK; wait
    """
    process = launcher(TrainingSpec(command=["sh", "-c", script]), workspace.root)
    wait_for(lambda: len(list(tmp_path.glob("up-*"))) == 2)
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=90)
    assert "ended by SIGTERM" in told
    assert outcome_of(workspace).state == "preempted"
    assert (tmp_path / "got").read_text() == "got it\ngot it\n"  # one of each process
    assert others(mark) == []


ENTRYPOINT = """
from stepworks.errors import ConfigurationError
import json

def train(context, *, steps, stop_at=None):
    start = 0
    if context.resume_from:
        start = json.loads((context.resume_from / "state.json").read_text())["step"]
    for step in range(start + 1, steps + 1):
        context.report(step=step, loss=1 / step)
        folder = context.checkpoints.parent / "new"
        folder.mkdir()
        (folder / "state.json").write_text(json.dumps({"step": step}))
        context.commit(folder, step=step)
        if step == stop_at and not start:
            import os, signal
            os.kill(os.getpid(), signal.SIGTERM)
        if context.should_stop():
            return
    context.model.mkdir()
    (context.model / "weights").write_text(str(start))
"""


def test_an_entrypoint_resumes_from_what_it_committed(
    tmp_path: Path, mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_entrypoint.py").write_text(ENTRYPOINT)
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{tmp_path}")
    workspace = Workspace(tmp_path / "run")
    spec = TrainingSpec(entrypoint="own_entrypoint:train", settings={"steps": 50, "stop_at": 3})
    with pytest.raises(TrainingError, match=r"ended by SIGTERM\n.*\n.*resumes after step"):
        run(spec, workspace)
    assert outcome_of(workspace).state == "preempted"
    committed = outcome_of(workspace).committed_step
    assert committed is not None
    assert 3 <= committed < 50  # the signal is heard soon after it was sent
    assert run(spec, workspace).state == "completed"
    assert (workspace.model / "weights").read_text() == str(committed)
    reports = [line["step"] for line in read_metrics(workspace.metrics) if line["kind"] == "report"]
    assert reports == list(range(1, 51))
    other = spec.model_copy(update={"settings": {"steps": 6}})
    with pytest.raises(StepworksError, match="settings: checkpoint"):
        run(other, workspace)
    assert (workspace.model / "weights").exists()  # another run's, which is refused here


def test_a_reference_that_does_not_import_is_a_mistake_of_the_caller(tmp_path: Path, mark: str) -> None:
    with pytest.raises(ConfigurationError, match="does not import"):
        run(TrainingSpec(entrypoint="no_such_module:train"), Workspace(tmp_path / "run"))


def test_a_command_that_cannot_be_started_is_a_mistake_of_the_caller(tmp_path: Path, mark: str) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot be started(?s:.*)no-such-program --fast"):
        run(TrainingSpec(command=["no-such-program", "--fast"]), Workspace(tmp_path / "run"))


def test_a_program_that_is_killed_behind_a_shell_may_be_tried_again(tmp_path: Path, mark: str) -> None:
    workspace = Workspace(tmp_path / "run")
    with pytest.raises(TrainingError, match=r"SIGKILL of sh(?s:.*)memory limit"):
        run(TrainingSpec(command=["sh", "-c", "sh -c 'kill -9 $$'; exit $?"]), workspace)
    assert not workspace.permanent_error.exists()
