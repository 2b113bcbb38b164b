import resource
import shutil
import signal
from pathlib import Path

import pytest
import torch

from stepworks.errors import CheckpointError, ResourceError
from stepworks.training.checkpoint import MANIFEST_FILE, STATE_FILE, CheckpointStore

IDENTITY = {"seed": "1"}


def state(value: int) -> dict[str, torch.Tensor]:
    return {"weight": torch.full((100,), float(value))}


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path / "checkpoints", IDENTITY)


def newest_value(store: CheckpointStore) -> float:
    newest = store.load_newest()
    assert newest is not None
    return float(newest[1]["weight"][0])


def test_nothing_saved_is_nothing_loaded(store: CheckpointStore) -> None:
    assert store.load_newest() is None


def test_the_newest_is_loaded_and_older_ones_are_pruned(store: CheckpointStore) -> None:
    for step in (1, 2, 3):
        store.save(step, state(step))
    assert newest_value(store) == 3
    assert sorted(path.name for path in store.folder.iterdir()) == ["step-00000002", "step-00000003"]


@pytest.mark.parametrize("kept", [0, 1, 100, 800])
def test_a_state_truncated_at_any_byte_is_passed_over(store: CheckpointStore, kept: int) -> None:
    store.save(1, state(1))
    newest = store.save(2, state(2)) / STATE_FILE
    newest.write_bytes(newest.read_bytes()[:kept])
    assert newest_value(store) == 1


def test_a_flipped_byte_is_passed_over(store: CheckpointStore) -> None:
    store.save(1, state(1))
    newest = store.save(2, state(2)) / STATE_FILE
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    assert newest_value(store) == 1


@pytest.mark.parametrize("manifest", [b"", b"{", b'{"step": 2}'])
def test_a_torn_manifest_is_passed_over(store: CheckpointStore, manifest: bytes) -> None:
    store.save(1, state(1))
    (store.save(2, state(2)) / MANIFEST_FILE).write_bytes(manifest)
    assert newest_value(store) == 1


def test_what_a_killed_attempt_was_writing_is_no_checkpoint(store: CheckpointStore) -> None:
    saved = store.save(1, state(1))
    shutil.copytree(saved, store.folder / ".writing-abc")
    assert newest_value(store) == 1
    store.save(2, state(2))
    assert not (store.folder / ".writing-abc").exists()


def test_no_complete_checkpoint_left_is_an_error_that_names_each(store: CheckpointStore) -> None:
    (store.save(1, state(1)) / STATE_FILE).unlink()
    with pytest.raises(CheckpointError, match="step-00000001"):
        store.load_newest()


def test_a_checkpoint_of_another_configuration_is_refused(store: CheckpointStore) -> None:
    store.save(1, state(1))
    with pytest.raises(CheckpointError, match="seed: checkpoint 1, now 2"):
        CheckpointStore(store.folder, {"seed": "2"}).load_newest()


def test_saving_a_step_again_keeps_the_complete_one(store: CheckpointStore) -> None:
    store.save(1, state(1))
    store.save(1, state(1))
    assert newest_value(store) == 1


def test_a_torn_checkpoint_is_replaced_and_does_not_count_as_one_that_is_kept(store: CheckpointStore) -> None:
    store.save(1, state(1))
    torn = store.save(2, state(2)) / STATE_FILE
    torn.write_bytes(torn.read_bytes()[:100])
    store.save(2, state(2))
    assert newest_value(store) == 2
    torn.write_bytes(torn.read_bytes()[:100])
    newest = store.save(3, state(3)) / STATE_FILE
    newest.write_bytes(newest.read_bytes()[:100])
    assert newest_value(store) == 1


def test_a_folder_that_cannot_be_made_names_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError, match="file/checkpoints"):
        CheckpointStore(tmp_path / "file" / "checkpoints", IDENTITY)


def test_a_full_disk_leaves_the_earlier_checkpoint(store: CheckpointStore) -> None:
    store.save(1, state(1))
    with pytest.raises(ResourceError, match="Free space"), limited_file_size(200):
        store.save(2, state(2))
    assert newest_value(store) == 1
    assert [path.name for path in store.folder.iterdir()] == ["step-00000001"]


class limited_file_size:  # noqa: N801
    """A real write error: the kernel refuses to let this process write files beyond a size."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __enter__(self) -> None:
        self.before = resource.getrlimit(resource.RLIMIT_FSIZE)
        self.handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, self.before[1]))

    def __exit__(self, *_: object) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self.before)
        signal.signal(signal.SIGXFSZ, self.handler)
