"""What the loop decides between two steps: to stop, to keep the state, to go on."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest
import torch
import torch.distributed as dist

from stepworks.errors import TrainingError
from stepworks.training.checkpoint.saver import Saver
from stepworks.training.checkpoint.store import CheckpointStore
from stepworks.training.interruption import Interruption, Reason
from stepworks.training.process_group import Agreement, Processes
from stepworks.training.progress import Signals
from stepworks.training.spec import CheckpointSettings, LoopSettings
from stepworks.training.verdict import Verdict


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_sigterm_is_noted_with_its_deadline_and_a_second_one_changes_nothing() -> None:
    clock = Clock()
    before = signal.getsignal(signal.SIGTERM)
    with Interruption(30, clock=clock) as interruption:
        assert interruption.reason is Reason.NONE
        assert interruption.seconds_left == float("inf")
        os.kill(os.getpid(), signal.SIGTERM)
        clock.now = 12
        os.kill(os.getpid(), signal.SIGTERM)
        assert interruption.reason is Reason.SIGTERM
        assert interruption.seconds_left == 18
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_stop_file_is_looked_for_once_a_second(tmp_path: Path) -> None:
    clock = Clock()
    interruption = Interruption(30, tmp_path / "STOP", clock=clock)
    assert interruption.reason is Reason.NONE
    (tmp_path / "STOP").touch()
    assert interruption.reason is Reason.NONE
    clock.now = 1
    assert interruption.reason is Reason.STOP_FILE


def test_a_process_that_does_not_end_in_time_ends_itself() -> None:
    script = """
import time
from stepworks.training.interruption import Interruption
with Interruption(0.4, on_deadline=lambda: print("over", flush=True)):
    print("up", flush=True)
    time.sleep(600)
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.terminate()
    assert process.communicate(timeout=60)[0] == "over\n"
    assert process.returncode == 75


def signals(tmp_path: Path, clock: Clock, settings: CheckpointSettings, interruption: Interruption) -> Signals:
    saver = Saver(CheckpointStore(tmp_path, {}))
    return Signals(settings, saver, interruption, leads=True, clock=clock)


def test_the_state_is_kept_every_so_many_steps_and_seconds(tmp_path: Path) -> None:
    clock = Clock()
    settings = CheckpointSettings(every_steps=4, every_seconds=10)
    deciding = signals(tmp_path, clock, settings, Interruption(30))
    kept = []
    for step in range(1, 13):
        clock.now += 3
        if deciding.heard(deciding.own(), step=step).save:
            kept.append(step)
            deciding.saved()
    assert kept == [4, 8, 12]
    clock.now += 10
    assert deciding.heard(deciding.own(), step=13).save


def test_a_checkpoint_that_is_due_while_another_is_written_comes_later(tmp_path: Path) -> None:
    deciding = signals(tmp_path, Clock(), CheckpointSettings(every_steps=2, every_seconds=None), Interruption(30))
    busy = [0.0, 0.0, 0.0, 1.0]
    assert not deciding.heard(busy, step=2).save
    assert not deciding.heard(busy, step=3).save
    assert deciding.heard([0.0, 0.0, 0.0, 0.0], step=5).save


def test_what_was_said_before_a_checkpoint_begins_no_other_one(tmp_path: Path) -> None:
    clock = Clock()
    saver = Saver(CheckpointStore(tmp_path, {}), cast("dist.ProcessGroup", object()), asynchronous=False)
    deciding = Signals(CheckpointSettings(every_seconds=10), saver, Interruption(30), leads=True, clock=clock)
    said, kept = None, []
    for step in range(1, 12):
        clock.now += 3
        said, before = deciding.own(), said  # with several processes a step late
        if deciding.heard(before, step=step).save:
            kept.append(step)
            deciding.saved()
    assert kept == [5, 10]


def test_the_time_that_a_checkpoint_needs_is_judged_by_the_last_ones(tmp_path: Path) -> None:
    clock = Clock()
    saver = Saver(CheckpointStore(tmp_path, {}))
    with Interruption(30, clock=clock) as interruption:
        deciding = Signals(CheckpointSettings(), saver, interruption, leads=True, clock=clock)
        assert deciding.agree_on_time(Agreement(Processes())) == (float("inf"), 0.0)
        saver.durations = [1.0] * 18 + [4.0, 2.0]
        os.kill(os.getpid(), signal.SIGTERM)
        clock.now = 5
        assert deciding.agree_on_time(Agreement(Processes())) == (25.0, 6.0)


def judged(verdict: Verdict, *values: tuple[float, float]) -> None:
    for step, (loss, norm) in enumerate(values, start=1):
        verdict.judge(step, torch.tensor(loss), torch.tensor(norm))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([(1.0, 1.0), (float("nan"), 1.0)], "loss is not finite at step 2"),
        ([(1.0, float("inf"))], "gradient is not finite at step 1"),
        ([(1.0, 1.0), (1.0, 1.0), (51.0, 1.0)], "diverged at step 3"),
    ],
)
def test_a_step_that_is_not_good_is_told_before_it_is_taken(values: list[tuple[float, float]], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        judged(Verdict(LoopSettings(loss_limit=50)), *values)


def test_on_a_gpu_a_step_is_looked_at_with_the_next_or_before_the_state_is_kept() -> None:
    verdict = Verdict(LoopSettings(), late=True)
    judged(verdict, (float("nan"), 1.0))
    with pytest.raises(TrainingError, match="step 1"):
        verdict.settle()
    verdict.settle()


def test_a_scaled_loss_may_leave_out_steps_but_not_for_ever() -> None:
    verdict = Verdict(LoopSettings(), scaled=True)
    infinite = (1.0, float("inf"))
    judged(verdict, *[infinite] * 49, (1.0, 1.0), *[infinite] * 49)
    with pytest.raises(TrainingError, match="gradient is not finite"):
        judged(verdict, infinite)


def test_one_process_agrees_with_itself_at_once() -> None:
    assert Agreement(Processes()).exchange([1, float("-inf")]) == [1.0, float("-inf")]
