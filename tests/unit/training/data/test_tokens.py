"""Token shards: what is packed is what is read, bad files are told, and the memory stays flat."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stepworks.errors import DataError, NotFoundError, ResourceError, StepworksError
from stepworks.training.data.tokens import MANIFEST_FILE, NOT_TRAINED, TokenSamples, TokenWriter

VOCABULARY = 500


def write(folder: Path, texts: list[list[int]], *, length: int = 4, prompt: int = 0) -> TokenSamples:
    with TokenWriter(folder, length=length, vocabulary=VOCABULARY) as writer:
        for text in texts:
            writer.add(text, prompt=prompt)
    return TokenSamples(folder)


def test_texts_follow_each_other_in_rows_that_share_a_token(tmp_path: Path) -> None:
    samples = write(tmp_path, [[1, 2, 3], [4, 5, 6, 7, 8, 9, 10]])
    (tokens,), targets = samples.take(torch.tensor([0, 1, 2]))
    assert tokens.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 0, 0]]
    assert targets.tolist() == [[2, 3, 4, 5], [6, 7, 8, 9], [10, NOT_TRAINED, NOT_TRAINED, NOT_TRAINED]]
    assert tokens.dtype == targets.dtype == torch.int64


def test_a_prompt_is_seen_and_not_trained_on(tmp_path: Path) -> None:
    (tokens,), targets = write(tmp_path, [[1, 2, 3, 4, 5]], prompt=3).take(torch.tensor([0]))
    assert tokens.tolist() == [[1, 2, 3, 4]]
    assert targets.tolist() == [[NOT_TRAINED, NOT_TRAINED, 4, 5]]


def test_a_last_row_that_is_just_full_is_not_followed_by_another(tmp_path: Path) -> None:
    assert len(write(tmp_path, [[1, 2, 3, 4, 5]])) == 1
    assert len(write(tmp_path, [[1, 2, 3, 4, 5, 6]])) == 2


@given(texts=st.lists(st.lists(st.integers(0, VOCABULARY - 1), max_size=30), min_size=1, max_size=12), data=st.data())
@settings(deadline=None, max_examples=40)
def test_every_token_comes_back_once_as_a_target(
    tmp_path_factory: pytest.TempPathFactory, texts: list[list[int]], data: st.DataObject
) -> None:
    everything = [token for text in texts for token in text]
    if len(everything) < 2:
        return
    length = data.draw(st.integers(1, 9))
    rows_a_shard = data.draw(st.integers(1, 4))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stepworks.training.data.tokens._SHARD_BYTES", rows_a_shard * (length + 1) * 4)
        samples = write(tmp_path_factory.mktemp("tokens"), texts, length=length)
    (tokens,), targets = samples.take(torch.arange(len(samples)))
    assert targets[targets != NOT_TRAINED].tolist() == everything[1:]
    assert tokens.reshape(-1)[: len(everything) - 1].tolist() == everything[:-1]
    shuffled = torch.randperm(len(samples))
    (again,), _ = samples.take(shuffled)
    assert torch.equal(again, tokens[shuffled])
    assert all(shard.rows <= rows_a_shard for shard in samples.manifest.shards)


def test_the_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    first = write(tmp_path / "a", [[1, 2, 3]]).fingerprint()
    assert write(tmp_path / "b", [[1, 2, 3]]).fingerprint() == first
    assert write(tmp_path / "c", [[1, 2, 4]]).fingerprint() != first
    assert write(tmp_path / "d", [[1, 2, 3]], prompt=2).fingerprint() != first


def test_a_writer_that_failed_leaves_nothing_that_is_taken_for_whole(tmp_path: Path) -> None:
    write(tmp_path, [[1, 2, 3]])
    with pytest.raises(DataError, match="vocabulary"):
        write(tmp_path, [list(range(20)), [VOCABULARY]])
    with pytest.raises(NotFoundError, match="no complete token shards"):
        TokenSamples(tmp_path)
    write(tmp_path, [[1, 2, 3]])


@pytest.mark.parametrize("tokens", [[1, VOCABULARY], [-1, 2]])
def test_a_token_that_is_not_of_the_vocabulary_is_not_written(tmp_path: Path, tokens: list[int]) -> None:
    with pytest.raises(DataError, match=f"from {min(tokens)} to {max(tokens)}"):
        write(tmp_path, [tokens])


@pytest.mark.parametrize("texts", [[], [[]], [[7]]])
def test_no_text_at_all_is_told(tmp_path: Path, texts: list[list[int]]) -> None:
    with pytest.raises(DataError, match="no text to be packed"):
        write(tmp_path, texts)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_is_told(tmp_path: Path) -> None:
    (tmp_path / "tokens-00000.bin").symlink_to("/dev/full")
    with pytest.raises(ResourceError, match="No space left"):
        write(tmp_path, [list(range(100))] * 100)


def overwrite(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def cut(folder: Path) -> None:
    path = folder / "tokens-00000.bin"
    path.write_bytes(path.read_bytes()[:-7])


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (cut, DataError, r"tokens-00000\.bin is not as long(?s:.*)153 bytes(?s:.*)8 rows of 5 words"),
        (lambda folder: (folder / "tokens-00000.bin").unlink(), DataError, r"Cannot read .*tokens-00000\.bin"),
        (lambda folder: (folder / MANIFEST_FILE).unlink(), NotFoundError, "no complete token shards"),
        (lambda folder: (folder / MANIFEST_FILE).write_text("{}"), DataError, "length: "),
        (
            lambda folder: (folder / MANIFEST_FILE).write_text(
                (folder / MANIFEST_FILE).read_text().replace('"length": 4', '"length": 5')
            ),
            DataError,
            r"160 bytes(?s:.*)8 rows of 6 words",
        ),
    ],
    ids=["cut", "absent", "no manifest", "other manifest", "other width"],
)
def test_shards_that_cannot_be_used_are_told_at_once(
    tmp_path: Path, spoil: Callable[[Path], object], error: type[StepworksError], message: str
) -> None:
    write(tmp_path, [list(range(33))])
    spoil(tmp_path)
    with pytest.raises(error, match=message):
        TokenSamples(tmp_path)


def test_a_row_that_is_no_tokens_is_told_by_file_and_row(tmp_path: Path) -> None:
    samples = write(tmp_path, [list(range(33))])
    overwrite(tmp_path / "tokens-00000.bin", 3 * 20, b"\xff\xff\xff\x7f")
    samples.take(torch.tensor([2, 4]))
    with pytest.raises(DataError, match=r"Row 3 of the token shard .*tokens-00000\.bin is torn(?s:.*)the token 2147"):
        samples.take(torch.tensor([2, 3]))


def test_a_shard_that_is_cut_while_it_is_used_is_told(tmp_path: Path) -> None:
    """Through a memory map this would end the process with SIGBUS."""
    samples = write(tmp_path, [list(range(33))])
    cut(tmp_path)
    with pytest.raises(DataError, match=r"Row 7 .*is torn(?s:.*)13 of 20 bytes"):
        samples.take(torch.tensor([7]))


MEASURE = """
import resource, sys
from pathlib import Path
import torch
from stepworks.training.data.loader import Loader
from stepworks.training.data.order import Order
from stepworks.training.data.tokens import TokenSamples
def resident():  # not ru_maxrss, which a process inherits from the one that starts it
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() // 1024
samples = TokenSamples(Path(sys.argv[1]))
with Loader(samples, Order(len(samples), 64, 0), rank=0, world=1, device=torch.device("cpu")) as loader:
    first = most = resident()
    for batch in loader:
        most = max(most, resident())
        if batch.next.batch == 0:
            break
print(most - first)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="there is no /proc to read the memory from")
def test_the_memory_does_not_grow_with_the_data(tmp_path: Path) -> None:
    def peak_kib(megabytes: int) -> int:
        folder = tmp_path / str(megabytes)
        text = np.arange(250_000) % VOCABULARY
        with TokenWriter(folder, length=1024, vocabulary=VOCABULARY) as writer:
            for _ in range(megabytes):
                writer.add(text)
        run = subprocess.run([sys.executable, "-c", MEASURE, str(folder)], capture_output=True, text=True, check=True)
        return int(run.stdout)

    small, large = peak_kib(4), peak_kib(64)
    assert large - small < 12 * 1024, f"{small} KiB for 4 MB of tokens, {large} KiB for 64 MB"
