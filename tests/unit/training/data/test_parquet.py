"""Samples from Parquet: what they hold, what is told of bad files, and how much memory they take."""

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from stepworks.errors import DataError, NotFoundError, StepworksError
from stepworks.training.data.loader import Loader
from stepworks.training.data.order import BLOCKS_AT_ONCE, Order
from stepworks.training.data.parquet import Columns, ParquetSamples, RowGroups

INPUTS = [Columns(["a", "b"], torch.float32), Columns(["code"], torch.int64), Columns("vector", torch.float32)]
TARGETS = Columns("y", torch.float32)


def table(rows: int, first: int = 0) -> pa.Table:
    """Row i holds i in every column, in its type."""
    number = np.arange(first, first + rows)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.repeat(number, 3), pa.float64()), 3)
    return pa.table({"a": number, "b": number / 1, "code": number.astype("uint16"), "vector": vectors, "y": number})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """25 rows in row groups of 4, 4, 2 and 7, 7, 1."""
    pq.write_table(table(10), tmp_path / "0.parquet", row_group_size=4, write_page_checksum=True)
    pq.write_table(table(15, 10), tmp_path / "1.parquet", row_group_size=7, write_page_checksum=True)
    return tmp_path


def samples_of(path: Path) -> ParquetSamples:
    return ParquetSamples(path, INPUTS, TARGETS)


def test_rows_are_taken_across_files_and_row_groups(folder: Path) -> None:
    samples = samples_of(folder)
    assert len(samples) == 25
    assert samples.block_sizes == [25]
    indices = torch.tensor([24, 0, 9, 10, 10, 3])
    (numbers, code, vector), targets = samples.take(indices)
    assert torch.equal(numbers, indices.float()[:, None].expand(-1, 2))
    assert torch.equal(code, indices[:, None])
    assert torch.equal(vector, indices.float()[:, None].expand(-1, 3))
    assert torch.equal(targets, indices.float())


def test_a_single_file_needs_no_ending(folder: Path) -> None:
    (folder / "1.parquet").rename(folder / "features")
    assert samples_of(folder / "features").take(torch.tensor([2]))[1].tolist() == [12.0]


def test_row_groups_are_taken_together_to_blocks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepworks.training.data.parquet._BLOCK_BYTES", 0)
    assert samples_of(folder).block_sizes == [4, 4, 2, 7, 7, 1]
    footer = pq.read_metadata(folder / "0.parquet")
    together = sum(footer.row_group(group).total_byte_size for group in range(2))
    monkeypatch.setattr("stepworks.training.data.parquet._BLOCK_BYTES", together)
    assert samples_of(folder).block_sizes[0] == 8


@pytest.mark.parametrize("row_group", [25, 100])
def test_an_epoch_through_the_loader_reads_each_row_group_about_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, row_group: int
) -> None:
    pq.write_table(table(5000), folder / "0.parquet", row_group_size=row_group)
    (folder / "1.parquet").unlink()
    largest = max(pq.read_metadata(folder / "0.parquet").row_group(group).total_byte_size for group in range(50))
    monkeypatch.setattr("stepworks.training.data.parquet._BLOCK_BYTES", largest * 100 // row_group)
    decoded: list[str] = []

    def decode(part: pa.Table, name: str) -> torch.Tensor:
        decoded.append(name)
        return torch.tensor(part["y"].to_numpy())

    groups = RowGroups(folder, ["y"], decode)

    class Rows:
        def __len__(self) -> int:
            return len(groups)

        def take(self, indices: torch.Tensor) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
            taken = torch.empty(len(indices), dtype=torch.int64)
            for part, rows, places in groups.parts(indices):
                taken[places] = part[rows]
            return (taken,), taken

        def fingerprint(self) -> str:
            return ""

    order = Order(5000, 8, seed=0, block_sizes=groups.block_sizes)
    seen: list[int] = []
    with Loader(Rows(), order, rank=0, world=1, device=torch.device("cpu"), threads=3) as loader:
        for batch in loader:
            assert torch.equal(batch.targets, batch.indices)
            seen += batch.indices.tolist()
            if batch.next.batch == 0:
                break
    assert sorted(seen) == list(range(5000))
    # The blocks of the ends of the epoch are read twice, and the next epoch has begun.
    in_a_block = max(groups.block_sizes) // row_group
    assert len(set(decoded)) == 5000 // row_group <= len(decoded)
    assert len(decoded) <= 5000 // row_group + 2 * BLOCKS_AT_ONCE * in_a_block


def test_threads_that_want_one_row_group_read_it_once(folder: Path) -> None:
    calls: list[str] = []
    begun, go = threading.Event(), threading.Event()

    def decode(_: pa.Table, name: str) -> int:
        calls.append(name)
        begun.set()
        assert go.wait(10)
        return 5

    groups = RowGroups(folder, ["a"], decode)
    got: list[int] = []
    threads = [
        threading.Thread(target=lambda: got.extend(part for part, _, _ in groups.parts(torch.tensor([1]))))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    assert begun.wait(10)
    go.set()
    for thread in threads:
        thread.join(10)
    assert got == [5, 5, 5]
    assert len(calls) == 1


def test_what_failed_once_is_tried_again(folder: Path) -> None:
    answers = iter([DataError("torn"), 5])

    def decode(_: pa.Table, _name: str) -> int:
        answer = next(answers)
        if isinstance(answer, DataError):
            raise answer
        return answer

    groups = RowGroups(folder, ["a"], decode)
    with pytest.raises(DataError, match="torn"):
        list(groups.parts(torch.tensor([0])))
    assert [part for part, _, _ in groups.parts(torch.tensor([0]))] == [5]


def test_the_fingerprint_is_of_the_content_not_of_the_place(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for file in folder.iterdir():
        (elsewhere / file.name).write_bytes(file.read_bytes())
    before = samples_of(folder).fingerprint()
    assert samples_of(elsewhere).fingerprint() == before
    pq.write_table(table(10, 1), elsewhere / "0.parquet", row_group_size=4)
    assert samples_of(elsewhere).fingerprint() != before
    (folder / "0.parquet").rename(folder / "2.parquet")
    assert samples_of(folder).fingerprint() != before


def tear(folder: Path) -> None:
    """Overwrite the pages of one column in the second row group of the second file."""
    path = folder / "1.parquet"
    column = pq.read_metadata(path).row_group(1).column(2)
    assert column.path_in_schema == "code"
    content = bytearray(path.read_bytes())
    start = column.dictionary_page_offset or column.data_page_offset
    content[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    path.write_bytes(content)


def replace(folder: Path, **columns: object) -> None:
    changed = table(15, 10)
    for name, values in columns.items():
        changed = changed.set_column(changed.schema.get_field_index(name), name, values)  # type: ignore[arg-type]
    pq.write_table(changed, folder / "1.parquet", row_group_size=7)


@pytest.mark.parametrize(
    ("spoil", "index", "message"),
    [
        (tear, 18, r"row group 1 of .*1\.parquet(?s:.*)the column code: "),
        (
            lambda folder: replace(folder, a=pa.array([None, *range(14)])),
            10,
            r"column a of row group 0 of .*1\.parquet has missing values(?s:.*)1 missing in 7 rows",
        ),
        (
            lambda folder: replace(folder, b=pa.array(["x"] * 15)),
            24,
            r"column b of row group 2 of .*1\.parquet cannot be read as float32(?s:.*)string",
        ),
        (
            lambda folder: replace(folder, code=pa.array([0.5] * 15)),
            10,
            r"column code of row group 0 of .*1\.parquet cannot be read as int64(?s:.*)double",
        ),
        (
            lambda folder: replace(folder, vector=pa.array([[1.0] * 3] * 8 + [[1.0] * 2] * 7)),
            18,
            r"lists in the column vector of row group 1 of .*1\.parquet(?s:.*)from 2 to 3",
        ),
        (
            lambda folder: replace(folder, vector=pa.array([[1.0] * 2] * 15)),
            18,
            r"column vector of row group 1 of .*1\.parquet is of another width(?s:.*)\[2\](?s:.*)\[3\]",
        ),
        (
            lambda folder: replace(folder, vector=pa.array([[1.0, None, 2.0]] * 15)),
            18,
            r"column vector of row group 1 of .*1\.parquet has missing values(?s:.*)7 missing",
        ),
    ],
    ids=["torn", "missing", "text", "fraction", "ragged", "width", "missing in a list"],
)
def test_bad_values_are_told_by_file_row_group_and_column(
    folder: Path, spoil: Callable[[Path], None], index: int, message: str
) -> None:
    spoil(folder)
    samples = samples_of(folder)
    samples.take(torch.tensor([0, 5]))  # what is whole is given
    with pytest.raises(DataError, match=message):
        samples.take(torch.tensor([0, index]))


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda folder: [file.unlink() for file in folder.iterdir()], NotFoundError, "no Parquet file in"),
        (lambda folder: (folder / "1.parquet").write_bytes(b"PAR1"), DataError, r"1\.parquet as Parquet"),
        (lambda folder: (folder / "1.parquet").write_bytes(b""), DataError, r"1\.parquet as Parquet"),
        (
            lambda folder: pq.write_table(table(3).drop_columns(["code"]), folder / "1.parquet"),
            DataError,
            r"1\.parquet lacks the column code",
        ),
        (
            lambda folder: [pq.write_table(table(0), file) for file in sorted(folder.iterdir())],
            DataError,
            "no row in .*2 Parquet files",
        ),
    ],
    ids=["none", "torn", "empty file", "column", "no row"],
)
def test_files_that_cannot_be_used_are_told_at_once(
    folder: Path, spoil: Callable[[Path], object], error: type[StepworksError], message: str
) -> None:
    spoil(folder)
    with pytest.raises(error, match="(?s)" + message):
        samples_of(folder)


def test_a_path_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="absent"):
        samples_of(tmp_path / "absent")


MEASURE = """
import resource, sys
from pathlib import Path
import torch
from stepworks.training.data import parquet
from stepworks.training.data.loader import Loader
from stepworks.training.data.order import Order
parquet._BLOCK_BYTES = 0
columns = parquet.Columns([f"c{i}" for i in range(20)], torch.float32)
def resident():  # not ru_maxrss, which a process inherits from the one that starts it
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() // 1024
samples = parquet.ParquetSamples(Path(sys.argv[1]), [columns], parquet.Columns("y", torch.float32))
order = Order(len(samples), 256, 0, samples.block_sizes)
with Loader(samples, order, rank=0, world=1, device=torch.device("cpu")) as loader:
    first = most = resident()
    for batch in loader:
        most = max(most, resident())
        if batch.next.batch == 0:
            break
print(most - first)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="there is no /proc to read the memory from")
def test_the_memory_does_not_grow_with_the_data(tmp_path: Path) -> None:
    """Reading an epoch of 80 MB takes as much memory as reading one of 16 MB."""

    def peak_kib(groups: int) -> int:
        schema = pa.schema([*((f"c{i}", pa.float32()) for i in range(20)), ("y", pa.float32())])
        path = tmp_path / f"{groups}.parquet"
        rng = np.random.default_rng(0)
        with pq.ParquetWriter(path, schema, compression="none") as writer:
            for _ in range(groups):
                writer.write_table(pa.table([rng.random(10_000, "float32") for _ in schema.names], schema))
        run = subprocess.run([sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True)
        return int(run.stdout)

    small, large = peak_kib(20), peak_kib(100)
    assert large - small < 16 * 1024, f"{small} KiB for 16 MB of data, {large} KiB for 80 MB"
