"""SIGTERM, a STOP file, and processes that die or hang: what was committed stays, and all processes decide alike."""

from pathlib import Path

import pytest

from stepworks.training.checkpoint.store import committed_step
from stepworks.training.workspace import Workspace
from tests.training.conftest import Start
from tests.training.ranks import losses, model_bytes, outcome_of, resumptions, small_spec, steps_taken

PREEMPTED = 75


@pytest.mark.parametrize(
    "faults",
    [
        "TERM@build:1",
        "TERM@train:2;TERM@train:3",
        "TERM@validate:5:1",
        "sleep 1@open distcp:1;TERM@train:4:0",
    ],
    ids=["before the first step", "twice", "during validation", "while a checkpoint is written"],
)
def test_sigterm_at_an_awkward_moment_keeps_the_state(tmp_path: Path, start: Start, faults: str) -> None:
    spec = small_spec(tmp_path, every_steps=2)
    workspace = Workspace(tmp_path / "run")
    ranks = start(spec, workspace.root, 2, faults)
    assert ranks.wait() == [PREEMPTED] * 2, ranks.logs()
    outcome = outcome_of(workspace)
    assert outcome.state == "preempted"
    assert outcome.committed_step == committed_step(workspace.checkpoints) == steps_taken(workspace)[-1]
    ranks = start(spec, workspace.root, 2)
    assert ranks.wait() == [0, 0], ranks.logs()
    assert steps_taken(workspace) == list(range(1, 16))
    undisturbed = start(spec, tmp_path / "undisturbed", 2)
    assert undisturbed.wait() == [0, 0]
    assert losses(workspace) == losses(undisturbed.workspace)


def test_a_stop_file_ends_all_after_a_checkpoint(tmp_path: Path, start: Start) -> None:
    spec = small_spec(tmp_path)
    workspace = Workspace(tmp_path / "run")
    workspace.make()
    workspace.stop_file.touch()
    assert start(spec, workspace.root, 2).wait() == [PREEMPTED] * 2
    outcome = outcome_of(workspace)
    assert outcome.state == "stopped"
    assert outcome.committed_step == steps_taken(workspace)[-1]
    assert outcome.committed_step is not None
    assert outcome.committed_step < 15


def test_ranks_that_are_apart_stop_at_the_same_step_and_resume_to_the_bit(tmp_path: Path, start: Start) -> None:
    """One rank is told, another one is late; with four ranks the order of DDP's sums depends on its buckets, too."""
    spec = small_spec(tmp_path)
    undisturbed, workspace = Workspace(tmp_path / "undisturbed"), Workspace(tmp_path / "run")
    assert start(spec, undisturbed.root, 4).wait() == [0] * 4
    ranks = start(spec, workspace.root, 4, "sleep 1@train:3:2;TERM@train:3:1")
    assert ranks.wait() == [PREEMPTED] * 4, ranks.logs()
    assert outcome_of(workspace).committed_step == steps_taken(workspace)[-1]
    ranks = start(spec, workspace.root, 4)
    assert ranks.wait() == [0] * 4, ranks.logs()
    assert losses(workspace) == losses(undisturbed)
    assert model_bytes(workspace) == model_bytes(undisturbed)


def test_no_checkpoint_is_begun_that_would_not_be_done_in_time(tmp_path: Path, start: Start) -> None:
    spec = small_spec(tmp_path, every_steps=1, asynchronous=False, grace_seconds=10)
    workspace = Workspace(tmp_path / "run")
    # The first one took 8 s: 12 are wanted for another, and 10 are left.
    ranks = start(spec, workspace.root, 1, "sleep 8@open distcp:1;TERM@train:3")
    assert ranks.wait() == [PREEMPTED], ranks.logs()
    assert "none is begun" in ranks.logs()
    assert outcome_of(workspace).committed_step == 2
    assert steps_taken(workspace) == [1, 2, 3]


def test_a_rank_that_cannot_end_in_time_ends_itself_and_says_so(tmp_path: Path, start: Start) -> None:
    spec = small_spec(tmp_path, every_steps=1, grace_seconds=2)
    workspace = Workspace(tmp_path / "run")
    ranks = start(spec, workspace.root, 2, "STOP@train:4:1;TERM@train:4:0")
    assert ranks.wait([0]) == [PREEMPTED], ranks.logs()
    outcome = outcome_of(workspace)
    assert (outcome.state, outcome.committed_step) == ("preempted", committed_step(workspace.checkpoints))


@pytest.mark.parametrize("fault", ["KILL@train:5:1", "KILL@train:5:0"])
def test_a_rank_that_dies_ends_the_others_and_costs_no_more_than_since_the_last_commit(
    tmp_path: Path, start: Start, fault: str
) -> None:
    spec = small_spec(tmp_path, every_steps=2, asynchronous=False)
    workspace = Workspace(tmp_path / "run")
    ranks = start(spec, workspace.root, 2, fault)
    killed = int(fault[-1])
    codes = ranks.wait()
    assert codes[killed] == -9
    assert codes[1 - killed] == 1, ranks.logs()
    outcome = outcome_of(workspace)
    assert (outcome.state, outcome.lost_peer, outcome.permanent) == ("failed", True, False)
    kept = committed_step(workspace.checkpoints)
    assert kept is not None
    ranks = start(spec, workspace.root, 2)
    assert ranks.wait() == [0, 0], ranks.logs()
    assert steps_taken(workspace) == list(range(1, 16))
    assert resumptions(workspace) == [(kept, 3 - kept)]
    undisturbed = start(spec, tmp_path / "undisturbed", 2)
    assert undisturbed.wait() == [0, 0]
    assert losses(workspace) == losses(undisturbed.workspace)


def test_a_rank_that_hangs_is_told_after_the_timeout(tmp_path: Path, start: Start) -> None:
    spec = small_spec(tmp_path, every_steps=2, asynchronous=False, timeout_seconds=4)
    ranks = start(spec, tmp_path / "run", 2, "STOP@train:5:1")
    assert ranks.wait([0]) == [1]
    outcome = outcome_of(ranks.workspace)
    assert (outcome.state, outcome.lost_peer) == ("failed", True)
    assert committed_step(ranks.workspace.checkpoints) is not None
