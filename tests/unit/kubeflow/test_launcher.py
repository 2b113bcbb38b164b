"""Carrying steps through their attempts, whatever runs them."""

import io
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from stepworks.errors import ClusterError, StepworksError
from stepworks.kubeflow.local.launcher import Launcher
from stepworks.kubeflow.local.run import execute, local_run
from stepworks.kubeflow.local.runner import Ended
from stepworks.kubeflow.local.steps import Step
from stepworks.kubeflow.pipeline import Pipeline

ONE = """
@pipeline(version="1.0.0")
def tiny():
    \"\"\"Add once.\"\"\"
    add(a=1, b=1)
"""


class Scripted:
    """A runner, and each of its attempts: ends as it is told to, and remembers what it is asked for."""

    def __init__(self, *ends: Ended | BaseException, left: StepworksError | None = None) -> None:
        self.ends = list(ends)
        self.left = left
        self.asked: list[str] = []

    def start(self, step: Step, command: list[str], environment: Mapping[str, str], log: Path) -> "Scripted":
        self.asked.append(f"start {step.name}")
        return self

    def wait(self) -> Ended:
        end = self.ends.pop(0)
        if isinstance(end, BaseException):
            raise end
        return end

    def signal(self, number: int) -> None:
        self.asked.append(signal.Signals(number).name)

    def end(self, deadline: float) -> None:
        self.asked.append("end")
        if self.left:
            raise self.left


@pytest.fixture
def step() -> Step:
    return Step("train", "train", "train", [])


def launcher(step: Step, logs: Path, runner: Scripted) -> Launcher:
    made = Launcher([step], logs, runner, on_begin=lambda _: None, on_end=lambda *_: None)
    made.task_started("train", "train")
    return made


def test_the_page_of_the_last_attempt_is_the_error_of_the_step(step: Step, tmp_path: Path) -> None:
    runner = Scripted(Ended(1, "It was evicted."), Ended(-9, "It was out of memory."))
    made = launcher(step, tmp_path, runner)
    assert [made.run_process([], {}), made.run_process([], {})] == [1, -9]
    made.task_ended(succeeded=False, outputs={})
    assert (step.state, step.attempts, step.error) == ("failed", 2, "It was out of memory.")
    assert runner.asked == ["start train", "end"] * 2
    assert "attempt 2" in (tmp_path / "train.log").read_text()


def test_an_attempt_that_cannot_run_ends_the_run_and_is_ended(step: Step, tmp_path: Path) -> None:
    runner = Scripted(ClusterError("There is no node", received="0 of 2"))
    made = launcher(step, tmp_path, runner)
    with pytest.raises(RuntimeError, match="train cannot run"):  # which kfp does not try again
        made.run_process([], {})
    made.task_ended(succeeded=False, outputs={})
    assert step.error is not None
    assert step.error.startswith("There is no node")
    assert runner.asked == ["start train", "end"]


def test_what_an_interruption_left_running_is_ended_and_nothing_more_is_started(step: Step, tmp_path: Path) -> None:
    runner = Scripted(KeyboardInterrupt())
    made = launcher(step, tmp_path, runner)
    with pytest.raises(KeyboardInterrupt):
        made.run_process([], {})
    made.stop()
    assert made.run_process([], {}) == -signal.SIGTERM
    assert runner.asked == ["start train", "SIGTERM", "end"]


def test_what_cannot_be_ended_is_told_in_place_of_an_interruption(
    make_pipeline: Callable[[str], Pipeline], tmp_path: Path
) -> None:
    with local_run(make_pipeline(ONE), {}, tmp_path) as running:
        running.runner = Scripted(KeyboardInterrupt(), left=ClusterError("The pod cannot be deleted", received="503"))
        with pytest.raises(ClusterError, match="cannot be deleted"):
            execute(running, io.StringIO())
    assert running.record().state == "failed"
    assert running.steps[0].state == "cancelled"


def test_a_step_has_the_input_that_the_run_gives_it_and_the_record_names_it(
    make_pipeline: Callable[[str], Pipeline], tmp_path: Path
) -> None:
    with local_run(make_pipeline(ONE), {}, tmp_path, ["add.b=41"]) as running:
        execute(running, io.StringIO())
    assert running.steps[0].values == {"Output": 42}
    assert running.record().parameters == {"add.b": "41"}
