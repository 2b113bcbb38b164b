import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.filesystem import FileSystemWriter

from stepworks.errors import CheckpointError, ResourceError
from stepworks.training.checkpoint.saver import Saver, Snapshot
from stepworks.training.checkpoint.state import (
    load_tensors,
    load_weights,
    random_state,
    read_state,
    restore_random_state,
    tensors_of,
)
from stepworks.training.checkpoint.store import CheckpointStore
from tests.unit.training.file_limit import limited_file_size

CPU = torch.device("cpu")


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path / "checkpoints", {"seed": "1"})


def trained(seed: int, steps: int = 2, width: int = 4) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(width, 4), torch.nn.BatchNorm1d(4))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for _ in range(steps):
        model(torch.randn(8, width)).square().sum().backward()
        optimizer.step()
    return model, optimizer


def snapshot(step: int, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Snapshot:
    return Snapshot(step, tensors_of(model, optimizer), {"step": step, "loss": 0.1 + 0.2}, random_state(CPU))


def flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(tree, dict):
        return {k: v for key, value in tree.items() for k, v in flat(value, f"{prefix}/{key}").items()}
    return {prefix: tree}


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    first, second = flat(one), flat(other)
    assert first.keys() == second.keys()
    for name, value in first.items():
        same = torch.equal(value, second[name]) if isinstance(value, torch.Tensor) else value == second[name]
        assert same, name


@pytest.mark.parametrize("asynchronous", [True, False])
def test_a_state_that_is_written_comes_back_to_the_bit(store: CheckpointStore, asynchronous: bool) -> None:
    model, optimizer = trained(1)
    saver = Saver(store, asynchronous=asynchronous)
    saver.save(snapshot(2, model, optimizer))
    saver.wait()
    assert saver.committed_step == 2
    newest = store.newest()
    assert newest is not None
    other_model, other_optimizer = trained(2, steps=0)
    load_tensors(newest.folder, other_model, other_optimizer, None)
    assert_same(tensors_of(model, optimizer), tensors_of(other_model, other_optimizer))
    assert read_state(newest.folder) == {"step": 2, "loss": 0.1 + 0.2}
    saver.__exit__(None, None, None)


def test_weights_alone_leave_the_optimizer(store: CheckpointStore) -> None:
    saver = Saver(store)
    saver.save(snapshot(2, *trained(1)))
    saver.wait()
    model, _ = trained(2)
    load_weights(store.newest().folder, model, None)  # type: ignore[union-attr]
    assert_same(dict(model.state_dict()), dict(trained(1)[0].state_dict()))


def test_the_generators_go_on_where_they_were(store: CheckpointStore) -> None:
    import random

    import numpy as np

    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.random()), float(torch.rand(()))

    model, optimizer = trained(1)
    saver = Saver(store)
    saver.save(snapshot(2, model, optimizer))
    expected = draw()
    saver.wait()
    draw()
    folder = store.newest().folder  # type: ignore[union-attr]
    assert restore_random_state(folder, 0, CPU)
    assert draw() == expected
    assert not restore_random_state(folder, 1, CPU)


class HeldWriter:
    """Holds the background write until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go = threading.Event()
        write = FileSystemWriter.write_data

        def held(writer: Any, *arguments: Any) -> Any:
            assert self.go.wait(60)
            return write(writer, *arguments)

        monkeypatch.setattr(FileSystemWriter, "write_data", held)


def test_what_is_trained_after_the_save_is_not_in_the_checkpoint(
    store: CheckpointStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = HeldWriter(monkeypatch)
    model, optimizer = trained(1)
    expected = {name: value.clone() for name, value in model.state_dict().items()}
    saver = Saver(store)
    saver.save(snapshot(2, model, optimizer))
    assert saver.busy  # and yet `save` has returned
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    writer.go.set()
    saver.wait()
    other, _ = trained(2)
    load_weights(store.newest().folder, other, None)  # type: ignore[union-attr]
    assert_same(dict(other.state_dict()), expected)


def test_written_behind_or_at_once_the_files_are_the_same(tmp_path: Path) -> None:
    content = []
    for asynchronous in (True, False):
        store = CheckpointStore(tmp_path / str(asynchronous), {})
        saver = Saver(store, asynchronous=asynchronous)
        saver.save(snapshot(2, *trained(1)))
        saver.wait()
        folder = store.newest().folder  # type: ignore[union-attr]
        content.append((folder / "__0_0.distcp").read_bytes())
    assert content[0] == content[1]


def test_the_memory_of_the_copy_is_used_again(store: CheckpointStore) -> None:
    model, optimizer = trained(1, width=50_000)
    size = sum(parameter.nbytes for parameter in model.parameters())
    taken = []
    with Saver(store) as saver:
        for step in (1, 2):
            with torch.profiler.profile(profile_memory=True) as profile:
                saver.save(snapshot(step, model, optimizer))
            taken.append(sum(max(0, event.self_cpu_memory_usage) for event in profile.events()))
            saver.wait()
    assert taken[0] > 2 * size  # the weights, and two moments of each
    assert taken[1] < 0.1 * size


def test_a_write_that_failed_is_told_by_the_next_save_and_leaves_the_earlier_one(store: CheckpointStore) -> None:
    model, optimizer = trained(1)
    saver = Saver(store)
    saver.save(snapshot(1, model, optimizer))
    saver.wait()
    with limited_file_size(500):
        saver.save(snapshot(2, model, optimizer))
        with pytest.raises(ResourceError, match="Free space"):
            saver.wait()
        assert saver.failed
        with pytest.raises(ResourceError, match="Free space"):
            saver.save(snapshot(3, model, optimizer))
    assert saver.committed_step == 1
    assert [path.name for path in store.folder.iterdir()] == ["step-00000001"]
    saver.__exit__(None, None, None)


def test_a_state_that_does_not_fit_the_model_is_told(store: CheckpointStore) -> None:
    saver = Saver(store)
    saver.save(snapshot(2, *trained(1)))
    saver.wait()
    with pytest.raises(CheckpointError, match="does not fit the model"):
        load_tensors(store.newest().folder, *trained(1, width=5), None)  # type: ignore[union-attr]
