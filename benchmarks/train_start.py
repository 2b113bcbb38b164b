"""From the start of a process to its first optimizer step: ours, and the barest script, launched in the same way.

Twice: as plain processes, and as steps of Kubeflow Pipelines, whose executor starts the component's function. Ours is
then the compiled step `training/train`, which starts a process that trains; the peer is a component whose body is the
barest script.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kfp import dsl

from stepworks.components.training.train.component import train
from stepworks.training.spec import TrainingSpec
from stepworks.training.workspace import Workspace

FIRST_STEP_MODULE = "benchmarks.train_first_step"
FIRST_STEP = "BENCH_FIRST_STEP"  # as that module has it, which imports torch
Start = Callable[[Path], list[str]]
"""What is run, given a folder of its own."""


# As our steps: nothing is installed when it starts.
@dsl.component(base_image="python:3.11", install_kfp_package=False)
def bare_step() -> None:
    """The barest script as a step."""
    from benchmarks.train_first_step import main

    main()


def starts(spec: TrainingSpec, folder: Path, rounds: int) -> dict[str, tuple[list[float], list[float]]]:
    """The seconds of ours and of the barest script by the way of launching, in turn, after an uncounted round.

    Args:
        spec: What ours trains.
        folder: Where the workspaces are made.
        rounds: How often each is started.
    """
    spec = spec.model_copy(update={"model": f"{FIRST_STEP_MODULE}:build_model"})
    ways: dict[str, tuple[Start, Start]] = {
        "process": (lambda own: _process(spec, own), lambda _: [sys.executable, "-m", FIRST_STEP_MODULE]),
        "step": (lambda own: _step(train, own, _given(spec, own)), lambda own: _step(bare_step, own, {})),
    }
    seconds: dict[str, tuple[list[float], list[float]]] = {way: ([], []) for way in ways}
    for number in range(rounds + 1):
        for way, both in ways.items():
            for which, start in enumerate(both):
                took = _seconds(start, folder / f"{way}-{number}-{which}")
                if number:
                    seconds[way][which].append(took)
    return seconds


def show(seconds: dict[str, tuple[list[float], list[float]]]) -> None:
    """Print the medians of each way, with the fastest and the slowest difference of a round."""
    for way, (ours, bare) in seconds.items():
        differences = [one - other for one, other in zip(ours, bare, strict=True)]
        print(
            f"to the first step, as a {way}: bare {statistics.median(bare):.2f} s, "
            f"ours {statistics.median(ours):.2f} s, {statistics.median(differences):+.2f} s in the median of "
            f"{len(ours)} rounds ({min(differences):+.2f} to {max(differences):+.2f}; to be at most +1)"
        )


def _seconds(start: Start, own: Path) -> float:
    own.mkdir()
    told = own / "first-step"
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = start(own)
    began = time.time()
    environment = {**os.environ, FIRST_STEP: str(told), "PATH": path}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # with bytecode cached, as in an image
    ended = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
    return float(told.read_text()) - began


def _process(spec: TrainingSpec, own: Path) -> list[str]:
    workspace = Workspace(own / "workspace")
    workspace.make()
    spec.write(workspace.spec)
    return [sys.executable, "-m", "stepworks.training.worker", str(workspace.root)]


def _given(spec: TrainingSpec, own: Path) -> dict[str, Any]:
    """The parameters of our step."""
    return {
        "workspace": str(own),
        "run": "bench",
        "model": spec.model,
        "data": spec.data,
        "model_settings": spec.model_settings,
        "epochs": spec.loop.epochs,
        "batch_size": spec.loop.batch_size,
        "loop": {"monitor": "validation_loss"},
    }


def _step(component: Any, own: Path, parameters: dict[str, Any]) -> list[str]:
    """The command of a component's container, as Kubeflow Pipelines starts it."""

    def artifact(name: str, kind: str, uri: Path) -> dict[str, Any]:
        return {"artifacts": [{"name": name, "type": {"schemaTitle": kind}, "uri": str(uri)}]}

    inputs = {"train_features": artifact("train_features", "system.Dataset", own.parent / "few-rows")}
    kinds = {"trained_model": "system.Model", "training": "system.Artifact", "metrics": "system.Metrics"}
    outputs = {name: artifact(name, kind, own / name) for name, kind in kinds.items()}
    executor_input = {
        "inputs": {"parameterValues": parameters, **({"artifacts": inputs} if parameters else {})},
        "outputs": {"artifacts": outputs if parameters else {}, "outputFile": str(own / "executor-output.json")},
    }
    container = component.component_spec.implementation.container
    arguments = [each if isinstance(each, str) else each.to_string() for each in container.args]
    return [*container.command, *(json.dumps(executor_input) if each == "{{$}}" else each for each in arguments)]
