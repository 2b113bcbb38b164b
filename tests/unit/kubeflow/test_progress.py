"""What a person sees of a run, on a terminal and elsewhere."""

import io

from stepworks.kubeflow.local.progress import PlainProgress, open_progress
from stepworks.kubeflow.local.progress_live import LiveProgress
from stepworks.kubeflow.local.steps import Step


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


def test_elsewhere_a_line_tells_of_each_begin_and_end() -> None:
    stream = io.StringIO()
    with open_progress("a run", steps(), stream) as progress:
        assert isinstance(progress, PlainProgress)
        for step in steps():
            progress.step_began(step)
            progress.step_ended(step)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "a run"
    assert lines[2].startswith("✓ ingest")
    assert lines[2].endswith("attempt 2")
    assert lines[4].startswith("✗ train")


def test_a_terminal_gets_a_tree_with_every_step_and_its_state() -> None:
    terminal = Terminal()
    shown = steps()
    with open_progress("a run", shown, terminal) as progress:
        assert isinstance(progress, LiveProgress)
        shown[2].start()
        progress.step_began(shown[2])
        progress.step_ended(shown[1])
    drawn = terminal.getvalue()
    for text in ("a run", "✓", "ingest", "attempt 2", "✗", "train", "deploy"):
        assert text in drawn
