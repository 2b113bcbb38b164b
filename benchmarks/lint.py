"""`make bench-lint`: lint and diff of IR of 50, 500 and 5,000 tasks, against PyYAML's C loader on the same file.

Diff reads two files: the one, and a copy in which every image is another. All of them run in one process, in turn, so
that they meet the same machine; importing is not counted. The IR repeats the flagship's tasks under other names, with
what they need of components, executors and settings.
"""

from __future__ import annotations

import copy
import gc
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from stepworks.kubeflow.diff.compare import compare
from stepworks.kubeflow.ir.read import read_ir
from stepworks.kubeflow.lint.check import lint_ir

ROOT = Path(__file__).parents[1]
SIZES = (50, 500, 5_000)
LIMIT = 1.0
"""CPU seconds that 500 tasks may take."""


def main() -> None:
    """Measure each size and say how the time grows."""
    gc.disable()  # as the command does
    original = list(yaml.load_all(_flagship().read_text(encoding="utf-8"), Loader=yaml.CSafeLoader))
    seconds: dict[int, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            path = Path(folder) / f"{size}.yaml"
            documents = json.loads(json.dumps(_repeated(original, size)))  # nothing is shared, so no aliases
            path.write_text(yaml.dump_all(documents, Dumper=yaml.CSafeDumper), encoding="utf-8")
            rounds = max(1, 2_500 // size) if size < SIZES[-1] else 3
            changed = Path(folder) / f"{size}-changed.yaml"
            changed.write_text(path.read_text(encoding="utf-8").replace(":0.1.0", ":0.2.0"), encoding="utf-8")
            lint, diff, reading, loading = _alternate(path, changed, min(rounds, 11))
            seconds[size] = (lint, diff)
            print(
                f"{size:>5} tasks, {path.stat().st_size / 1e6:5.2f} MB, CPU seconds:  "
                f"lint {lint:6.3f}  diff {diff:6.3f}  reading {reading:6.3f}  yaml.load {loading:6.3f}  "
                f"lint/load {lint / loading:5.2f}  diff/(2 x load) {diff / loading / 2:5.2f}"
            )
    for name, small, large in zip(("lint", "diff"), seconds[500], seconds[5_000], strict=True):
        print(
            f"{name}: 500 tasks take {small:.3f} s CPU (to be under {LIMIT}); "
            f"5,000 tasks {large / small:.1f} times as long (to be about 10)"
        )


def _flagship() -> Path:
    return min((ROOT / "compiled" / "tabular_train_and_deploy").glob("*/a100.yaml"))


def _alternate(path: Path, changed: Path, rounds: int) -> tuple[float, ...]:
    """The medians of lint, of diff, of reading alone and of the loader; a first round is not counted."""
    timings: list[list[float]] = [[], [], [], []]
    actions: tuple[Callable[[], object], ...] = (
        lambda: lint_ir(read_ir(path)),
        lambda: compare(read_ir(path), read_ir(changed)),
        lambda: read_ir(path),
        lambda: list(yaml.load_all(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)),
    )
    for number in range(rounds + 1):
        for action, timing in zip(actions, timings, strict=True):
            gc.collect()
            started = time.process_time()
            action()
            if number:
                timing.append(time.process_time() - started)
    return tuple(statistics.median(timing) for timing in timings)


def _repeated(documents: list[dict[str, Any]], size: int) -> list[dict[str, Any]]:
    """The pipeline again and again, each copy after the one before it, up to `size` tasks."""
    specification, platform = copy.deepcopy(documents)
    tasks = specification["root"]["dag"].pop("tasks")
    parts = {
        "component": specification.pop("components"),
        "executor": specification["deploymentSpec"].pop("executors"),
        "setting": platform["platforms"]["kubernetes"]["deploymentSpec"].pop("executors"),
    }
    grown: dict[str, dict[str, Any]] = {"task": {}, "component": {}, "executor": {}, "setting": {}}
    last = ""
    for number in range(-(-size // len(tasks))):
        for kind, members in parts.items():
            for name, member in members.items():
                fields = {"executorLabel": f"{member['executorLabel']}-{number}"} if kind == "component" else {}
                grown[kind][f"{name}-{number}"] = {**member, **fields}
        for name, task in tasks.items():
            if len(grown["task"]) < size:
                grown["task"][f"{name}-{number}"] = _renamed(task, number, [last] if last else [])
        last = f"{min(tasks)}-{number}"
    specification["root"]["dag"]["tasks"] = grown["task"]
    specification["components"] = grown["component"]
    specification["deploymentSpec"]["executors"] = grown["executor"]
    platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"] = grown["setting"]
    return [specification, platform]


def _renamed(task: dict[str, Any], number: int, before: list[str]) -> dict[str, Any]:
    renamed = copy.deepcopy(task)
    renamed["componentRef"]["name"] += f"-{number}"
    renamed["dependentTasks"] = [f"{name}-{number}" for name in task.get("dependentTasks", [])] + before
    for inputs in renamed.get("inputs", {}).values():
        for each in inputs.values():
            for source in each.values():
                if isinstance(source, dict) and "producerTask" in source:
                    source["producerTask"] += f"-{number}"
    return renamed


if __name__ == "__main__":
    main()
