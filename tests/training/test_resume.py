"""A run that was ended and resumed takes the same steps as one that was not, to the bit."""

from pathlib import Path

import pytest
from torch.distributed.checkpoint.filesystem import FileSystemReader

from stepworks.training.workspace import Workspace
from tests.training.conftest import Start
from tests.training.ranks import losses, model_bytes, outcome_of, resumptions, small_spec, steps_taken

STRATEGIES = [
    (1, "none", 3),
    (2, "ddp", 1),
    (2, "ddp", 3),
    (2, "fsdp", 1),
    (2, "fsdp", 3),
]


@pytest.mark.parametrize(("world", "strategy", "accumulation"), STRATEGIES)
def test_a_run_that_is_ended_twice_and_resumed_is_bit_equal(
    tmp_path: Path, start: Start, world: int, strategy: str, accumulation: int
) -> None:
    spec = small_spec(tmp_path, strategy=strategy, accumulation=accumulation)
    undisturbed, resumed = Workspace(tmp_path / "undisturbed"), Workspace(tmp_path / "resumed")
    ranks = start(spec, undisturbed.root, world)
    assert ranks.wait() == [0] * world, ranks.logs()
    for fault in (f"TERM@train:{3 * accumulation}", f"TERM@train:{4 * accumulation}:0"):
        ranks = start(spec, resumed.root, world, fault)
        assert ranks.wait() == [75] * world, ranks.logs()
        assert outcome_of(resumed).state == "preempted"
    ranks = start(spec, resumed.root, world)
    assert ranks.wait() == [0] * world, ranks.logs()
    assert outcome_of(resumed).state == "completed"
    assert len(losses(undisturbed)) == 15
    assert losses(resumed) == losses(undisturbed)
    assert model_bytes(resumed) == model_bytes(undisturbed)
    assert steps_taken(resumed) == list(range(1, 16))
    assert [lost for _, lost in resumptions(resumed)] == [0, 0]  # a graceful end loses nothing


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_a_run_with_frozen_weights_is_resumed_to_the_bit(tmp_path: Path, start: Start, strategy: str) -> None:
    spec = small_spec(tmp_path, strategy=strategy, freeze=True)
    undisturbed = start(spec, tmp_path / "undisturbed", 2)
    assert undisturbed.wait() == [0, 0], undisturbed.logs()
    assert start(spec, tmp_path / "resumed", 2, "TERM@train:8").wait() == [75, 75]
    resumed = start(spec, tmp_path / "resumed", 2)
    assert resumed.wait() == [0, 0], resumed.logs()
    assert losses(resumed.workspace) == losses(undisturbed.workspace)
    assert model_bytes(resumed.workspace) == model_bytes(undisturbed.workspace)
    for folder in resumed.workspace.checkpoints.glob("step-*"):
        held = FileSystemReader(folder).read_metadata().state_dict_metadata
        assert not [name for name in held if "blocks.0" in name]
        assert [name for name in held if "blocks.1" in name]


def test_steps_that_a_kill_has_lost_are_told_once(tmp_path: Path, start: Start) -> None:
    spec, workspace = small_spec(tmp_path, asynchronous=False), Workspace(tmp_path / "run")
    # The third forward pass is before the first checkpoint, which is of step 5; the eighth is of step 8.
    for fault, told in (("KILL@train:3", [1, 2]), ("KILL@train:8", [1, 2, 3, 4, 5, 6, 7])):
        start(spec, workspace.root, 1, fault).wait()
        assert steps_taken(workspace) == told
    ranks = start(spec, workspace.root, 1)
    assert ranks.wait() == [0], ranks.logs()
    assert steps_taken(workspace) == list(range(1, 16))
    assert resumptions(workspace) == [(5, 2)]
