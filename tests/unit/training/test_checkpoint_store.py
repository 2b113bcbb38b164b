import os
import shutil
import sys
from pathlib import Path

import pytest

from stepworks.errors import CheckpointError, ResourceError, TakenOverError
from stepworks.training.checkpoint.manifest import MANIFEST_FILE, record_file
from stepworks.training.checkpoint.store import Checkpoint, CheckpointStore, write_synced
from tests.unit.training.file_limit import limited_file_size

IDENTITY = {"seed": "1"}


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path / "checkpoints", IDENTITY)


def save(
    store: CheckpointStore,
    step: int,
    monitored: float | None = None,
    *,
    higher_is_better: bool = False,
    best_step: int | None = None,
) -> Checkpoint:
    writing = store.begin(step)
    (writing / "part").mkdir()
    for name in ("weights", "part/state"):
        write_synced(writing / name, f"{name} of step {step}".encode() * 50)
    files = {name: record_file(writing / name) for name in ("weights", "part/state")}
    return store.commit(
        writing, step, files, monitored=monitored, higher_is_better=higher_is_better, best_step=best_step
    )


def newest_step(store: CheckpointStore) -> int:
    newest = store.newest()
    assert newest is not None
    return newest.step


def names(store: CheckpointStore) -> list[str]:
    return sorted(path.name for path in store.folder.iterdir() if path.is_dir())


def test_nothing_saved_is_nothing_loaded(store: CheckpointStore) -> None:
    assert store.newest() is None
    assert store.best() is None


def test_the_newest_is_found_and_older_ones_are_deleted(store: CheckpointStore) -> None:
    for step in (1, 2, 3):
        save(store, step)
    assert newest_step(store) == 3
    assert names(store) == ["step-00000002", "step-00000003"]


@pytest.mark.parametrize(("higher", "best"), [(True, 2), (False, 3)])
def test_the_best_stays_and_the_earliest_of_equals_is_the_best(tmp_path: Path, higher: bool, best: int) -> None:
    store = CheckpointStore(tmp_path, IDENTITY)
    for step, monitored in ((1, None), (2, 0.9), (3, 0.1), (4, 0.9), (5, 0.1), (6, 0.5), (7, None)):
        save(store, step, monitored, higher_is_better=higher)
    found = store.best(higher_is_better=higher)
    assert found is not None
    assert found.step == best
    assert names(store) == [f"step-{step:08d}" for step in (best, 6, 7)]


def test_the_best_that_the_run_names_stays_also_where_another_value_is_better(store: CheckpointStore) -> None:
    save(store, 1, 0.9, best_step=1)
    for step in (2, 3, 4):
        save(store, step, 0.1, best_step=1)
    assert names(store) == ["step-00000001", "step-00000003", "step-00000004"]


def test_a_torn_best_is_not_deleted_and_no_other_is_taken_for_it(store: CheckpointStore) -> None:
    path = save(store, 1, 0.1, best_step=1).folder / "weights"
    os.truncate(path, 100)
    for step in (2, 3, 4):
        save(store, step, 0.5, best_step=1)
    assert names(store) == ["step-00000001", "step-00000003", "step-00000004"]
    with pytest.raises(CheckpointError, match="step-00000001: weights has 100 bytes"):
        store.verified(1)


def test_what_a_newest_one_names_as_the_best_stays_for_a_run_that_resumes_from_it(store: CheckpointStore) -> None:
    save(store, 1, 0.5, best_step=1)
    save(store, 2, 0.9, best_step=1)
    save(store, 3, 0.1, best_step=3)
    assert names(store) == ["step-00000001", "step-00000002", "step-00000003"]
    save(store, 4, 0.9, best_step=3)
    assert names(store) == ["step-00000003", "step-00000004"]


def test_the_checkpoint_of_a_step_is_verified_or_told(store: CheckpointStore) -> None:
    path = save(store, 1).folder / "weights"
    assert store.verified(1).step == 1
    path.write_bytes(path.read_bytes().replace(b"w", b"v"))
    with pytest.raises(CheckpointError, match="does not have the digest"):
        store.verified(1)
    path.unlink()
    with pytest.raises(CheckpointError, match="weights cannot be read"):
        store.verified(1)
    with pytest.raises(CheckpointError, match=r"no folder .*step-00000002"):
        store.verified(2)


@pytest.mark.parametrize("kept", [0, 1, 400, 849])
def test_a_file_truncated_at_any_byte_is_passed_over_and_named(
    store: CheckpointStore, kept: int, caplog: pytest.LogCaptureFixture
) -> None:
    save(store, 1)
    path = save(store, 2).folder / "weights"
    assert len(path.read_bytes()) == 850
    os.truncate(path, kept)
    assert newest_step(store) == 1
    assert f"step-00000002: weights has {kept} bytes" in caplog.text


def test_a_flipped_byte_is_passed_over_and_the_file_is_named(
    store: CheckpointStore, caplog: pytest.LogCaptureFixture
) -> None:
    save(store, 1)
    path = save(store, 2).folder / "part" / "state"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert newest_step(store) == 1
    assert "step-00000002: part/state does not have the digest" in caplog.text


def test_a_file_that_is_gone_is_passed_over(store: CheckpointStore, caplog: pytest.LogCaptureFixture) -> None:
    save(store, 1)
    (save(store, 2).folder / "weights").unlink()
    assert newest_step(store) == 1
    assert "weights cannot be read" in caplog.text


@pytest.mark.parametrize("manifest", [b"", b"{", b'{"step": 2}', None])
def test_a_torn_manifest_is_passed_over(store: CheckpointStore, manifest: bytes | None) -> None:
    save(store, 1)
    path = save(store, 2).folder / MANIFEST_FILE
    path.unlink()
    if manifest is not None:
        path.write_bytes(manifest)
    assert newest_step(store) == 1


def test_what_a_killed_attempt_left_is_no_checkpoint_and_does_not_count(store: CheckpointStore) -> None:
    saved = save(store, 1).folder
    for number in range(5):
        shutil.copytree(saved, store.folder / f".writing-step-0000000{number + 2}-abc")
        shutil.copytree(saved, store.folder / f".deleting-step-0000000{number + 2}-abc")
    assert newest_step(store) == 1
    save(store, 2)
    assert newest_step(store) == 2
    assert (store.folder / "step-00000001").exists()
    store.take_over()
    assert names(store) == ["step-00000001", "step-00000002"]


def test_no_complete_checkpoint_left_is_an_error_that_names_each(store: CheckpointStore) -> None:
    for folder in [save(store, step).folder for step in (1, 2)]:
        (folder / "weights").unlink()
    with pytest.raises(CheckpointError, match=r"step-00000002: weights .*; step-00000001: weights"):
        store.newest()


def test_a_checkpoint_of_another_configuration_is_refused_by_field(store: CheckpointStore) -> None:
    save(store, 1)
    with pytest.raises(CheckpointError, match=r"batch: checkpoint none, now 8; seed: checkpoint 1, now 2"):
        CheckpointStore(store.folder, {"seed": "2", "batch": "8"}).newest()


def test_how_it_was_run_may_differ_and_is_written_down(store: CheckpointStore) -> None:
    CheckpointStore(store.folder, IDENTITY, topology={"processes": "4"})
    save(CheckpointStore(store.folder, IDENTITY, topology={"processes": "4"}), 1)
    newest = CheckpointStore(store.folder, IDENTITY, topology={"processes": "2"}).newest()
    assert newest is not None
    assert newest.manifest.topology == {"processes": "4"}


def test_saving_a_step_again_keeps_the_complete_one(store: CheckpointStore) -> None:
    first = save(store, 1).folder.stat().st_ino
    assert save(store, 1).folder.stat().st_ino == first
    assert names(store) == ["step-00000001"]


def test_a_torn_checkpoint_is_replaced_and_does_not_count_as_one_that_is_kept(store: CheckpointStore) -> None:
    save(store, 1)
    os.truncate(save(store, 2).folder / "weights", 100)
    save(store, 2)
    assert newest_step(store) == 2
    os.truncate(store.folder / "step-00000002" / "weights", 100)
    os.truncate(save(store, 3).folder / "weights", 100)
    assert newest_step(store) == 1


def test_a_folder_that_cannot_be_made_names_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError, match="file/checkpoints"):
        CheckpointStore(tmp_path / "file" / "checkpoints", IDENTITY)


def test_a_full_disk_leaves_the_earlier_checkpoint(store: CheckpointStore) -> None:
    save(store, 1)
    writing = store.begin(2)
    with pytest.raises(ResourceError, match="Free space"), limited_file_size(100):
        store.commit(writing, 2, {})
    store.discard(writing)
    assert newest_step(store) == 1
    assert names(store) == ["step-00000001"]


def test_a_process_killed_at_any_point_leaves_the_newest_that_was_committed(tmp_path: Path) -> None:
    """Each operation on a file of the store is a point: the process is killed right before it, one after another."""
    killed_at = 0
    while True:
        folder = tmp_path / str(killed_at)
        pid = os.fork()
        if pid == 0:
            try:
                die_before(operation=killed_at, below=str(folder))
                store = CheckpointStore(folder, IDENTITY)
                for step in (1, 2, 3, 4):
                    save(store, step)
                    (tmp_path / f"committed-{killed_at}").write_text(str(step))
                os._exit(0)
            finally:
                os._exit(9)
        if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0:
            break
        committed = tmp_path / f"committed-{killed_at}"
        if committed.exists():
            # One more may be in place: the process was killed after the rename and before it could say so.
            expected = int(committed.read_text())
            assert newest_step(CheckpointStore(folder, IDENTITY)) in (expected, expected + 1), killed_at
        killed_at += 1
    assert killed_at > 40


def die_before(*, operation: int, below: str) -> None:
    """End this process without notice right before its file operation of that number below a folder."""
    count = 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        if event in ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree"):
            path = arguments[0]
            if isinstance(path, (str, os.PathLike)) and str(path).startswith(below):
                if count == operation:
                    os._exit(9)
                count += 1

    sys.addaudithook(hook)


def test_a_flipped_byte_is_mended_when_its_step_is_taken_again(store: CheckpointStore) -> None:
    save(store, 1, 0.5)
    path = save(store, 2, 0.1).folder / "weights"
    path.write_bytes(path.read_bytes().replace(b"w", b"v"))
    assert newest_step(store) == 1
    save(store, 2, 0.1)
    assert newest_step(store) == 2
    assert store.verified(2).step == 2


def test_an_attempt_whose_run_was_taken_over_commits_no_more(tmp_path: Path) -> None:
    old, new = (CheckpointStore(tmp_path, IDENTITY) for _ in range(2))
    old.take_over()
    save(old, 1)
    new.take_over()
    with pytest.raises(TakenOverError, match="another attempt"):
        save(old, 2)
    save(new, 3)
    assert newest_step(new) == 3
    assert not (tmp_path / "step-00000002").exists()
