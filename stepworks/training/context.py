"""What an entrypoint gets: its places, who it is among the processes, and how it tells where it is."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.distributed as dist

from stepworks.errors import ResourceError
from stepworks.training.checkpoint.manifest import record_file
from stepworks.training.checkpoint.store import CheckpointStore, not_writable, sync_file
from stepworks.training.interruption import Interruption, Reason
from stepworks.training.metrics import MetricsFile
from stepworks.training.spec import TrainingSpec
from stepworks.training.workspace import Workspace


class TrainingContext:
    """The run, as an entrypoint sees it. The process group is the entrypoint's own affair.

    Attributes:
        rank: This process among all, from 0.
        local_rank: This process among those of its node, from 0.
        world: How many processes there are.
        inputs: The inputs by their names.
        model: The folder to write the finished model to; rank 0 makes it, and it is not there at the beginning, also
            where an earlier attempt had made it. An empty one is a failure.
        checkpoints: The folder of committed checkpoints.
        resume_from: The newest complete checkpoint that `commit` committed, verified; None to begin anew.

    Raises:
        CheckpointError: There are checkpoints, but none is complete, or they are of another entrypoint or settings.
    """

    def __init__(self, spec: TrainingSpec, workspace: Workspace, interruption: Interruption) -> None:
        self.rank, self.local_rank, self.world = (
            int(os.environ.get(name, default)) for name, default in (("RANK", 0), ("LOCAL_RANK", 0), ("WORLD_SIZE", 1))
        )
        self.inputs: Mapping[str, Path] = {name: workspace.input(path) for name, path in spec.inputs.items()}
        self.model = workspace.model
        self.checkpoints = workspace.checkpoints
        self._interruption = interruption
        self._metrics = MetricsFile(workspace.metrics if self.rank == 0 else None)
        self._store = CheckpointStore(
            workspace.checkpoints,
            {"entrypoint": spec.entrypoint, "settings": json.dumps(spec.settings, sort_keys=True)},
            topology={"processes": str(self.world)},
            keep=spec.checkpoints.keep,
        )
        if self.rank == 0:
            self._store.take_over()
        newest = self._store.newest()
        self.resume_from = newest.folder if newest else None
        self._resumed_step = newest.step if newest else -1
        self._metrics.begin(newest.step if newest else 0)
        self._group: dist.ProcessGroup | None = None
        self.stop_reason = Reason.NONE

    def should_stop(self) -> bool:
        """Whether to commit a checkpoint and return, since the run is being ended; ask after each step.

        Where torch's process group is up, all processes must ask at the same step, and get the same answer.

        Raises:
            ResourceError: The processes resume from different checkpoints, since a network disk does not show the same
                to all; each of them raises, where the process group is up.
        """
        reason = int(self._interruption.reason)
        if self.world > 1 and dist.is_initialized():
            if self._group is None:
                group = dist.new_group(backend="gloo")
                assert isinstance(group, dist.ProcessGroup)
                self._group = group
            shared = torch.tensor([reason, self._resumed_step, -self._resumed_step])
            dist.all_reduce(shared, dist.ReduceOp.MAX, group=self._group)
            reason, newest, oldest = int(shared[0]), int(shared[1]), -int(shared[2])
            if newest != oldest:
                raise _different_checkpoints(self.checkpoints, oldest, newest)
        self.stop_reason = Reason(reason)
        return self.stop_reason is not Reason.NONE

    def report(self, *, step: int, **figures: float) -> None:
        """Add figures to `metrics.jsonl`; only rank 0's are.

        Args:
            step: The optimizer steps that were taken.
            **figures: Numbers by their names.
        """
        self._metrics.write("report", step=step, **figures)

    def commit(
        self, folder: Path, *, step: int, monitored: float | None = None, higher_is_better: bool = False
    ) -> None:
        """Make a folder the checkpoint of a step: it is verified when it is resumed from, and older ones are deleted.

        Rank 0's call counts. All processes must have written their files before.

        Args:
            folder: On the same claim as the workspace; it is moved away.
            step: The optimizer steps that were taken.
            monitored: The figure by which the best is kept beside the newest; give the same one each time.
            higher_is_better: Whether its greatest value is the best, as of an accuracy, or its least, as of a loss.

        Raises:
            TakenOverError: A later attempt at the run has begun; it has resumed from an earlier checkpoint.
            ResourceError: It cannot be moved, or the disk is full. Earlier checkpoints are intact.
        """
        if self.rank:
            return
        writing = self._store.begin(step)
        try:
            folder.replace(writing)
            files = {}
            for path in sorted(path for path in writing.rglob("*") if path.is_file()):
                sync_file(path)
                files[path.relative_to(writing).as_posix()] = record_file(path)
            self._store.commit(writing, step, files, monitored=monitored, higher_is_better=higher_is_better)
        except OSError as error:
            raise not_writable(self.checkpoints, error) from error
        finally:
            self._store.discard(writing)  # where it was not committed


def _different_checkpoints(folder: Path, oldest: int, newest: int) -> ResourceError:
    return ResourceError(
        "The processes do not resume from the same checkpoint",
        received=f"step {newest} in one, {f'step {oldest}' if oldest >= 0 else 'no checkpoint'} in another",
        expected=f"the newest of {folder} in each",
        what_to_do="Run it again. If it comes again, see that all pods mount the same claim, and what its disk caches.",
    )
