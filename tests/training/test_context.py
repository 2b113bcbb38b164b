"""What an entrypoint gets, without the processes around it."""

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from stepworks.training.context import TrainingContext
from stepworks.training.interruption import Interruption
from stepworks.training.spec import TrainingSpec
from stepworks.training.workspace import Workspace

SPEC = TrainingSpec(entrypoint="package.module:train")
ROOT = Path(__file__).parents[2]


def context(root: Path) -> TrainingContext:
    return TrainingContext(SPEC, Workspace(root), Interruption(30))


def commit(context: TrainingContext, root: Path, step: int, **how: Any) -> None:
    folder = root / "new"
    folder.mkdir()
    (folder / "state.json").write_text(json.dumps({"step": step}))
    context.commit(folder, step=step, **how)


def kept(root: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in Workspace(root).checkpoints.glob("step-*"))


@pytest.mark.parametrize(("how", "best"), [({}, 2), ({"higher_is_better": False}, 2), ({"higher_is_better": True}, 1)])
def test_the_best_that_is_kept_is_the_least_unless_it_is_said(tmp_path: Path, how: dict[str, bool], best: int) -> None:
    own = context(tmp_path)
    for step, value in ((1, 0.9), (2, 0.1), (3, 0.5), (4, 0.6), (5, 0.7)):
        commit(own, tmp_path, step, monitored=value, **how)
    assert kept(tmp_path) == [best, 4, 5]


RANK = """
import sys
from pathlib import Path
import torch.distributed as dist
from tests.training.test_context import context
rank = int(sys.argv[1])
own = context(Path(sys.argv[2]))
dist.init_process_group("gloo", init_method="file://" + sys.argv[3], rank=rank, world_size=2)
for _ in range(2):
    print(own.should_stop())
"""


def ranks(tmp_path: Path, roots: list[Path]) -> list[tuple[str, str]]:
    """What two ranks print and tell, each of which sees another folder as the workspace."""
    meeting = tmp_path / f"meeting-{uuid.uuid4().hex}"
    started = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, str(rank), str(root), str(meeting)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "RANK": str(rank), "WORLD_SIZE": "2"},
        )
        for rank, root in enumerate(roots)
    ]
    try:
        return [process.communicate(timeout=60) for process in started]
    finally:
        for process in started:
            process.kill()


def test_processes_that_see_different_checkpoints_do_not_go_on(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for root in (one, other):
        root.mkdir()
        commit(context(root), root, 3)
    assert [printed for printed, _ in ranks(tmp_path, [one, other])] == ["False\nFalse\n"] * 2
    commit(context(other), other, 4)
    for printed, told in ranks(tmp_path, [one, other]):
        assert printed == ""
        assert "step 4 in one, step 3 in another" in told
    for _, told in ranks(tmp_path, [tmp_path / "empty", other]):
        assert "step 4 in one, no checkpoint in another" in told
