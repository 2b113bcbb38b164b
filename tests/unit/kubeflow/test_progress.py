"""What a person sees of a run, on a terminal and elsewhere."""

import io
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from stepworks.kubeflow.local.progress import PlainProgress, open_progress
from stepworks.kubeflow.local.progress_live import LiveProgress
from stepworks.kubeflow.local.step_log import last_said
from stepworks.kubeflow.local.steps import Step

NOISE = """{
    "outputFile": "output.json"
}
"""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def steps() -> list[Step]:
    ended, failed, waiting = (Step(name, name, name, []) for name in ("ingest", "train", "deploy"))
    for step in (ended, failed):
        step.start()
    ended.attempts = 2
    ended.end("succeeded")
    failed.end("failed")
    failed.fail("out of luck", "train.log")
    return [ended, failed, waiting]


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (f"{NOISE}The Job train: its pod is pending.\n", "The Job train: its pod is pending."),
        ("epoch 1  loss 0.5\n[KFP Executor 2026-01-01 INFO]: Wrote\n", "epoch 1  loss 0.5"),
        ("epoch 1  loss 0.5\nepoch 2  lo", "epoch 1  loss 0.5"),  # a line that is just being written
        ("\x1b[2Jepoch 1\n", ""),
        ("epoch\x1b[2J 1\r\n", "epoch 1"),
        (NOISE, ""),
        ("", ""),
    ],
)
def test_the_last_words_of_a_step_are_its_own(log: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_bytes(log.encode())
    assert last_said(path) == said


def test_a_step_without_a_log_has_said_nothing(tmp_path: Path) -> None:
    assert last_said(tmp_path / "train.log") == ""


def wait_for(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.01)


def running_step(logs: Path) -> Step:
    step = Step("train", "train", "train", [])
    (logs / step.start()).write_text("The Job train: its pod is pending.\n")
    return step


def test_elsewhere_what_a_running_step_says_is_told_once(tmp_path: Path) -> None:
    stream, step = io.StringIO(), running_step(tmp_path)
    with PlainProgress("a run", [step], tmp_path, stream, telling_seconds=0.01):
        wait_for(lambda: "pending" in stream.getvalue())
        (tmp_path / "train.log").write_text("The Job train: its pod is running.\n")
        wait_for(lambda: "running" in stream.getvalue())
    assert stream.getvalue().splitlines() == [
        "a run",
        "  train: The Job train: its pod is pending.",
        "  train: The Job train: its pod is running.",
    ]


def test_a_terminal_shows_what_a_running_step_says(tmp_path: Path) -> None:
    terminal = Terminal()
    with open_progress("a run", [running_step(tmp_path)], tmp_path, terminal):
        pass
    assert "its pod is pending" in terminal.getvalue()


def test_on_a_narrow_terminal_what_is_said_gives_way(tmp_path: Path) -> None:
    step = running_step(tmp_path)
    (tmp_path / "train.log").write_text(f"The Job {'train' * 40} is pending.\n")
    narrow = Console(file=io.StringIO(), width=60)
    with narrow.capture() as shown:
        narrow.print(LiveProgress("a run", [step], tmp_path, io.StringIO()))
    (line,) = [line for line in shown.get().splitlines() if "train" in line]
    assert f"{step.name:<24} " in line
    assert line.endswith("…")
    assert " s " in line


def test_elsewhere_a_line_tells_of_each_begin_and_end(tmp_path: Path) -> None:
    stream = io.StringIO()
    with open_progress("a run", steps(), tmp_path, stream) as progress:
        assert isinstance(progress, PlainProgress)
        for step in steps():
            progress.step_began(step)
            progress.step_ended(step)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "a run"
    assert lines[2].startswith("✓ ingest")
    assert lines[2].endswith("attempt 2")
    assert lines[4].startswith("✗ train")


def test_a_terminal_gets_a_tree_with_every_step_and_its_state(tmp_path: Path) -> None:
    terminal = Terminal()
    shown = steps()
    with open_progress("a run", shown, tmp_path, terminal) as progress:
        assert isinstance(progress, LiveProgress)
        shown[2].start()
        progress.step_began(shown[2])
        progress.step_ended(shown[1])
    drawn = terminal.getvalue()
    for text in ("a run", "✓", "ingest", "attempt 2", "✗", "train", "deploy"):
        assert text in drawn
