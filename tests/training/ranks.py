"""Real processes of a training run, started fast: each rank is a fork of a program that has imported torch."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stepworks.training import outcome as outcomes
from stepworks.training.metrics import read_metrics
from stepworks.training.outcome import Outcome
from stepworks.training.spec import CheckpointSettings, LoopSettings, ParallelSettings, TrainingSpec
from stepworks.training.workspace import Workspace
from tests.processes import environment_with
from tests.training.small import FAULTS

LONGEST_SECONDS = 240.0
"""For a process whose peer was killed before they had joined: torch tries again after its timeout of 60 seconds, with a
pause before it, where no torchrun sees the peer's end."""


class Zygote:
    """The program that forks ranks, with further modules imported that these need."""

    def __init__(self, mark: object, *modules: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.training.zygote", *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
            env={**environment_with(mark), "OMP_NUM_THREADS": "1"},
        )

    def ask(self, request: dict[str, Any]) -> Any:
        """Send a request and return its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """End the program."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


class Ranks:
    """The processes of one attempt.

    Args:
        zygote: Forks them.
        workspace: Where they train.
        world: How many they are.
        faults: What is to happen to them; see `small`.
    """

    def __init__(self, zygote: Zygote, workspace: Workspace, world: int, faults: str = "") -> None:
        self._zygote = zygote
        self.workspace = workspace
        workspace.make()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.pids = [
            zygote.ask(
                {
                    "start": {
                        "RANK": str(rank),
                        "LOCAL_RANK": str(rank),
                        "WORLD_SIZE": str(world),
                        "MASTER_ADDR": "127.0.0.1",
                        "MASTER_PORT": str(port),
                        FAULTS: faults,
                    },
                    "root": str(workspace.root),
                    "log": str(workspace.log(rank)),
                }
            )
            for rank in range(world)
        ]

    def ended(self) -> dict[int, int]:
        """The exit codes of the ranks that ended, by rank."""
        codes = self._zygote.ask({"ended": []})
        return {rank: codes[str(pid)] for rank, pid in enumerate(self.pids) if str(pid) in codes}

    def wait(self, ranks: Sequence[int] | None = None) -> list[int]:
        """Wait until the ranks (all by default) have ended; return their exit codes."""
        waited = range(len(self.pids)) if ranks is None else ranks
        deadline = time.monotonic() + LONGEST_SECONDS
        while not all(rank in (ended := self.ended()) for rank in waited):
            if time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"only {ended} ended; {self.logs()}")
            time.sleep(0.01)
        return [ended[rank] for rank in waited]

    def kill(self) -> None:
        """SIGKILL all that have not ended, and see them gone."""
        ended = self.ended()
        for rank, pid in enumerate(self.pids):
            if rank not in ended:
                os.kill(pid, signal.SIGKILL)
        self.wait()

    def send(self, rank: int, number: int) -> None:
        """Send a signal to a rank."""
        os.kill(self.pids[rank], number)

    def logs(self) -> str:
        """What the ranks printed."""
        return "\n".join(self.workspace.log(rank).read_text() for rank in range(len(self.pids)))


def small_spec(
    root: Path,
    *,
    samples: int = 60,
    dropout: float = 0.2,
    freeze: bool = False,
    grace_seconds: float = 30,
    **changed: Any,
) -> TrainingSpec:
    """A spec of the small model: 3 epochs of 5 steps of 12 samples; `changed` are fields of its settings."""
    root.mkdir(parents=True, exist_ok=True)
    for name, seed, count in (("train", 1, samples), ("validation", 2, 30)):
        (root / f"{name}.json").write_text(json.dumps({"samples": count, "seed": seed}))
    loop = {"epochs": 3, "batch_size": 12, "learning_rate": 0.05, "seed": 3}
    parallel: dict[str, Any] = {"device": "cpu", "timeout_seconds": 60}
    checkpoints: dict[str, Any] = {"every_seconds": None}
    for name, value in changed.items():
        for settings, fields in (
            (loop, LoopSettings.model_fields),
            (parallel, ParallelSettings.model_fields),
            (checkpoints, CheckpointSettings.model_fields),
        ):
            if name in fields:
                settings[name] = value
    return TrainingSpec(
        model="tests.training.small:build_model",
        data="tests.training.small:read_samples",
        model_settings={"dropout": dropout, "freeze": freeze},
        inputs={"train": str(root / "train.json"), "validation": str(root / "validation.json")},
        loop=LoopSettings(**loop),
        parallel=ParallelSettings(**parallel),
        checkpoints=CheckpointSettings(**checkpoints),
        log_every_steps=1,
        grace_seconds=grace_seconds,
    )


def losses(workspace: Workspace) -> dict[int, float]:
    """The loss of each step that counts, to the bit."""
    return {line["step"]: line["loss"] for line in read_metrics(workspace.metrics) if line["kind"] == "step"}


def steps_taken(workspace: Workspace) -> list[int]:
    """The steps that all lines of the metrics tell of, in their order."""
    return [line["step"] for line in _lines(workspace) if line["kind"] == "step"]


def resumptions(workspace: Workspace) -> list[tuple[int, int]]:
    """After which steps the run was resumed, and how many steps were lost each time."""
    return [(line["step"], line["lost_steps"]) for line in _lines(workspace) if line["kind"] == "resumed"]


def _lines(workspace: Workspace) -> list[dict[str, Any]]:
    return [json.loads(line) for line in workspace.metrics.read_text().splitlines()]


def outcome_of(workspace: Workspace) -> Outcome:
    """How the last attempt ended."""
    outcome = outcomes.read(workspace)
    assert outcome is not None
    return outcome


def model_bytes(workspace: Workspace) -> bytes:
    """The weights of the finished model."""
    return (workspace.model / "model.safetensors").read_bytes()
