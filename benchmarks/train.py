"""`make bench-train`: our training loop against the barest loop in torch, on the same model, data and order.

All run in one process, in turn, so that they meet the same machine. Two models: a small one, of which each step is
so short that what a loop does besides is seen, and one whose steps are as long as those of real models on a CPU. Then
the loops of others (those that are installed), what checkpoints cost, how much faster the data is read than the models
take it, and how long a process takes to its first step.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import nn

from benchmarks.train_case import Case, Rows, build_model, read_rows
from benchmarks.train_peers import PEERS
from benchmarks.train_start import show, starts
from stepworks.report.documents import Epoch
from stepworks.training.data.loader import Loader
from stepworks.training.data.order import Order
from stepworks.training.spec import CheckpointSettings
from stepworks.training.train import train
from stepworks.training.workspace import Workspace

CASES = (Case("short steps", 64, 2, 256, 1000), Case("long steps", 768, 4, 256, 60))


def bare_epochs(case: Case, rows: Rows, epochs: int) -> Iterator[float]:
    """Samples a second of each epoch of the barest loop."""
    torch.manual_seed(0)
    model = build_model(width=case.width, depth=case.depth)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=epochs * case.steps, pct_start=0.2)
    model.train()
    for _ in range(epochs):
        began = time.perf_counter()
        order = torch.randperm(len(rows))
        for step in range(case.steps):
            inputs, targets = rows.take(order[step * case.batch_size : (step + 1) * case.batch_size])
            loss = model.loss(model(*inputs), targets)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        yield case.steps * case.batch_size / (time.perf_counter() - began)


def our_epochs(case: Case, rows_file: Path, folder: Path, epochs: int, checkpoints: CheckpointSettings) -> list[Epoch]:
    """The epochs of our loop."""
    return train(case.spec(epochs, rows_file, checkpoints), Workspace(folder)).epochs


def main() -> None:
    """Measure and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured")
    parser.add_argument("--start", action="store_true", help="measure only how long the first step takes to come")
    given = parser.parse_args()
    rounds = given.rounds
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {os.cpu_count()} cores, {platform.machine()}")
    with tempfile.TemporaryDirectory() as folder:
        for case in () if given.start else CASES:
            _measure(case, Path(folder) / case.name.replace(" ", "-"), rounds)
        _measure_start(Path(folder), rounds)


def _measure_start(folder: Path, rounds: int) -> None:
    rows_file = folder / "few-rows"
    rows_file.write_text("256")
    show(starts(CASES[0].spec(1, rows_file, CheckpointSettings()), folder, rounds))


def _measure(case: Case, folder: Path, rounds: int) -> None:
    folder.mkdir()
    rows_file = folder / "rows"
    rows_file.write_text(str(case.steps * case.batch_size))
    rows = read_rows(rows_file)
    rare = CheckpointSettings(every_seconds=None)
    often = CheckpointSettings(every_seconds=None, every_steps=max(1, case.steps // 10))
    peers = {name: loop for name, loop in PEERS.items() if importlib.util.find_spec(name)}
    theirs: dict[str, list[float]] = {name: [] for name in peers}
    ours, bare, saving = [], [], []
    for number in range(rounds):
        bare.append(statistics.median(list(bare_epochs(case, rows, 3))[1:]))
        ours.append(_speed(our_epochs(case, rows_file, folder / f"rare-{number}", 3, rare)))
        saving.append(_speed(our_epochs(case, rows_file, folder / f"often-{number}", 3, often)))
        for name, loop in peers.items():
            theirs[name].append(statistics.median(list(loop(case, rows, 3))[1:]))
    order = Order(len(rows), case.batch_size, 0)
    read = _reading(lambda: Loader(rows, order, rank=0, world=1, device=torch.device("cpu")), case)
    pairs = [one / other for one, other in zip(ours, bare, strict=True)]
    costs = [one / other for one, other in zip(saving, ours, strict=True)]
    print(
        f"{case.name}: bare {statistics.median(bare):,.0f} samples/s; ours {statistics.median(pairs):.3f} of it "
        f"({min(pairs):.3f} to {max(pairs):.3f}; to be 0.98); with ten checkpoints an epoch "
        f"{statistics.median(costs):.3f} of ours ({min(costs):.3f} to {max(costs):.3f}; to be 0.99); "
        f"data alone {read / statistics.median(ours):.1f} times as fast (to be 5)"
    )
    for name in PEERS:
        if name in peers:
            ratios = [one / other for one, other in zip(ours, theirs[name], strict=True)]
            print(f"{case.name}: ours {statistics.median(ratios):.2f} times {name} (to be at least 1)")
        else:
            print(f"{case.name}: {name} is not installed, and not compared")


def _speed(epochs: list[Epoch]) -> float:
    """The first epoch warms up and is not counted."""
    return statistics.median(epoch.samples_per_second for epoch in epochs[1:])


def _reading(make: Callable[[], Loader], case: Case) -> float:
    """Samples a second of the loader alone."""
    loader = make()
    try:
        batches = iter(loader)
        next(batches)
        began = time.perf_counter()
        for _ in range(2 * case.steps):
            next(batches)
        return 2 * case.steps * case.batch_size / (time.perf_counter() - began)
    finally:
        loader.close()


if __name__ == "__main__":
    main()
