"""Kills at any moment, disks that are full, checkpoints that are torn, losses that are not finite."""

import random
import signal
import time
from pathlib import Path

import pytest

from stepworks.training.checkpoint.store import committed_step
from stepworks.training.workspace import Workspace
from tests.training.conftest import Start
from tests.training.ranks import losses, model_bytes, outcome_of, small_spec, steps_taken
from tests.waiting import wait_for


def kill_and_resume(tmp_path: Path, start: Start, *, kills: int, strategy: str, seed: int) -> None:
    """End runs at random moments: all ranks or one by SIGKILL, or all by SIGTERM; each ends as an undisturbed one."""
    draw = random.Random(seed)
    spec = small_spec(tmp_path, strategy=strategy, every_steps=1)
    undisturbed = start(spec, tmp_path / "undisturbed", 2)
    began = time.monotonic()
    assert undisturbed.wait() == [0, 0]
    duration = time.monotonic() - began
    run, done = 0, 0
    while True:
        ranks = start(spec, tmp_path / f"run-{run}", 2)
        if done < kills:
            time.sleep(draw.uniform(0, duration))
            ended = ranks.ended()
            way = draw.choice(["kill all", "kill one", "terminate all"])
            for rank in [draw.randrange(2)] if way == "kill one" else [0, 1]:
                if rank not in ended:
                    ranks.send(rank, signal.SIGTERM if way == "terminate all" else signal.SIGKILL)
            done += len(ended) < 2
        if ranks.wait() == [0, 0]:
            assert losses(ranks.workspace) == losses(undisturbed.workspace)
            assert model_bytes(ranks.workspace) == model_bytes(undisturbed.workspace)
            run += 1
            if done >= kills:
                return


@pytest.mark.parametrize(("strategy", "seed"), [("ddp", 1), ("fsdp", 2)])
def test_a_run_that_is_killed_at_any_moment_ends_as_an_undisturbed_one(
    tmp_path: Path, start: Start, strategy: str, seed: int
) -> None:
    kill_and_resume(tmp_path, start, kills=3, strategy=strategy, seed=seed)


@pytest.mark.long
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_a_hundred_kills(tmp_path: Path, start: Start, strategy: str) -> None:
    kill_and_resume(tmp_path, start, kills=100, strategy=strategy, seed=3)


@pytest.mark.parametrize(
    "place",
    [
        "open step-00000004.*distcp:1",
        "open step-00000004.*random-:1",
        "open writing-step-00000004.*manifest:1",
        "os.rename step-00000004:1",
        "shutil.rmtree deleting:1",
    ],
)
def test_rank_0_killed_at_a_point_of_the_commit_leaves_the_newest_committed(
    tmp_path: Path, start: Start, place: str
) -> None:
    spec = small_spec(tmp_path, every_steps=2, asynchronous=False)
    ranks = start(spec, tmp_path / "run", 2, f"KILL@{place}:0")
    assert ranks.wait()[0] == -signal.SIGKILL, ranks.logs()
    kept = committed_step(ranks.workspace.checkpoints)
    assert kept in (2, 4, 5, 6)
    ranks = start(spec, tmp_path / "run", 2)
    assert ranks.wait() == [0, 0], ranks.logs()
    assert f"Resumed after step {kept}," in ranks.logs()
    assert list(losses(ranks.workspace)) == list(range(1, 16))
    assert not list(ranks.workspace.checkpoints.glob(".*"))


def test_a_torn_checkpoint_is_passed_over_by_all_ranks_and_its_file_is_named(tmp_path: Path, start: Start) -> None:
    spec = small_spec(tmp_path, strategy="fsdp", every_steps=2)
    undisturbed, workspace = start(spec, tmp_path / "undisturbed", 2), Workspace(tmp_path / "run")
    assert undisturbed.wait() == [0, 0]
    assert start(spec, workspace.root, 2, "TERM@train:4").wait() == [75, 75]
    newest, older = sorted(workspace.checkpoints.glob("step-*"), reverse=True)[:2]
    content = bytearray((newest / "__1_0.distcp").read_bytes())
    content[len(content) // 2] ^= 1
    (newest / "__1_0.distcp").write_bytes(content)
    ranks = start(spec, workspace.root, 2)
    assert ranks.wait() == [0, 0], ranks.logs()
    assert f"Passing over checkpoint {newest.name}: __1_0.distcp does not have the digest" in ranks.logs()
    assert f"Resumed after step {int(older.name[5:])}," in ranks.logs()
    assert losses(workspace) == losses(undisturbed.workspace)
    for folder in workspace.checkpoints.glob("step-*"):
        (folder / "manifest.json").write_bytes(b"")
    assert start(spec, workspace.root, 2).wait() == [1, 1]
    outcome = outcome_of(workspace)
    assert outcome.error is not None
    assert outcome.error["type"] == "CheckpointError"
    assert "manifest.json" in outcome.error["received"]


def test_a_loss_that_is_not_finite_on_one_rank_stops_all_at_the_same_step(tmp_path: Path, start: Start) -> None:
    spec = small_spec(tmp_path, every_steps=1)
    ranks = start(spec, tmp_path / "run", 2, "nan@train:5:1")
    assert ranks.wait() == [1, 1]
    outcome = outcome_of(ranks.workspace)
    assert outcome.permanent
    assert outcome.error is not None
    assert outcome.error["problem"] == "The training loss is not finite at step 4"
    for rank in (0, 1):
        assert "not finite at step 4" in ranks.workspace.log(rank).read_text()
    assert max(steps_taken(ranks.workspace)) == 3
    assert (committed_step(ranks.workspace.checkpoints) or 0) <= 3


def test_a_disk_that_is_full_for_one_rank_stops_all_and_the_earlier_checkpoint_stays(
    tmp_path: Path, start: Start
) -> None:
    spec = small_spec(tmp_path)
    workspace = Workspace(tmp_path / "run")
    ranks = start(spec, workspace.root, 2, "full 500@train:12:1")
    assert ranks.wait() == [1, 1], ranks.logs()
    outcome = outcome_of(workspace)
    assert outcome.error is not None
    assert outcome.error["type"] == "ResourceError"
    assert "Cannot write a checkpoint" in outcome.error["problem"]
    assert not outcome.permanent
    assert outcome.committed_step in (5, 10)  # That of step 10 may be under way when the disk is full.
    ranks = start(spec, workspace.root, 2)
    assert ranks.wait() == [0, 0], ranks.logs()
    assert f"Resumed after step {outcome.committed_step}," in ranks.logs()


@pytest.mark.parametrize("world", [1, 2])
def test_an_attempt_that_goes_on_beside_the_next_one_changes_nothing(tmp_path: Path, start: Start, world: int) -> None:
    """As a pod on a node that was cut off and counted as lost."""
    spec, workspace = small_spec(tmp_path, asynchronous=False), Workspace(tmp_path / "run")
    cut_off = start(spec, workspace.root, world, "STOP@train:8:0")
    wait_for("the first checkpoint", lambda: committed_step(workspace.checkpoints) == 5, seconds=60)
    retried = start(spec, workspace.root, world)
    assert retried.wait() == [0] * world, retried.logs()
    model = model_bytes(workspace)
    cut_off.send(0, signal.SIGCONT)
    assert cut_off.wait() == [75] * world, cut_off.logs()
    assert outcome_of(workspace).state == "completed"
    assert model_bytes(workspace) == model


def test_code_that_fails_on_one_rank_is_told_as_the_cause_by_that_rank(tmp_path: Path, start: Start) -> None:
    ranks = start(small_spec(tmp_path), tmp_path / "run", 2, "raise@take:3:1")
    assert ranks.wait() == [1, 1]
    outcome = outcome_of(ranks.workspace)
    assert (outcome.rank, outcome.lost_peer) == (1, False)
    assert outcome.error is not None
    assert "the fault that was asked for" in str(outcome.error)
