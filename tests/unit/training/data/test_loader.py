"""Reading ahead: what comes, in which order, from which position, and how it ends."""

import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stepworks.errors import ConfigurationError, DataError, ResourceError
from stepworks.training.data.loader import Batch, Loader, Position
from stepworks.training.data.order import Order
from stepworks.training.data.samples import Inputs

CPU = torch.device("cpu")
START = Position(1, 0)


class Numbers:
    """Sample i is the number i, and its target is 10 i. `before` is called before each take."""

    def __init__(self, length: int, before: Callable[[torch.Tensor], None] = lambda indices: None) -> None:
        self.length = length
        self.before = before

    def __len__(self) -> int:
        return self.length

    def take(self, indices: torch.Tensor) -> tuple[Inputs, torch.Tensor]:
        self.before(indices)
        return (indices.float(), indices[:, None]), indices * 10

    def fingerprint(self) -> str:
        return str(self.length)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def loader(samples: Numbers, order: Order, start: Position = START, **settings: int) -> Loader:
    settings = {"rank": 0, "world": 1} | settings
    return Loader(samples, order, device=CPU, start=start, **settings)  # type: ignore[arg-type]


def read(samples: Numbers, order: Order, batches: int, start: Position = START, **settings: int) -> list[Batch]:
    with loader(samples, order, start, **settings) as opened:
        return list(islice(opened, batches))


def test_a_batch_is_what_its_indices_say_epoch_after_epoch() -> None:
    order = Order(10, 3, seed=0)
    batches = read(Numbers(10), order, 7)
    for number, batch in enumerate(batches):
        epoch, place = number // 3 + 1, number % 3
        assert torch.equal(batch.indices, order.indices(epoch, place))
        assert torch.equal(batch.inputs[0], batch.indices.float())
        assert torch.equal(batch.inputs[1][:, 0], batch.indices)
        assert torch.equal(batch.targets, batch.indices * 10)
        assert batch.waited >= 0
    assert [(batch.next.epoch, batch.next.batch) for batch in batches] == [
        (1, 1), (1, 2), (2, 0), (2, 1), (2, 2), (3, 0), (3, 1)
    ]  # fmt: skip


@given(
    length=st.integers(4, 60),
    share=st.integers(1, 4),
    world=st.sampled_from([1, 2, 4]),
    stop=st.integers(0, 40),
    blocks=st.booleans(),
)
@settings(deadline=None, max_examples=40)
def test_a_resumed_run_has_exactly_the_batches_that_remain(
    length: int, share: int, world: int, stop: int, blocks: bool
) -> None:
    """Also when it resumes on another world size: nothing is lost, nothing comes twice."""
    batch = min(4 * share, length // 4 * 4)
    order = Order(length, batch, 5, [length - length // 3, length // 3] if blocks else None)
    whole = [each.indices.tolist() for each in read(Numbers(length), order, stop + 12)]
    before = read(Numbers(length), order, stop, rank=0, world=world)
    position = before[-1].next if before else START
    after = [
        [each.indices for each in read(Numbers(length), order, 12, position, rank=rank, world=world)]
        for rank in range(world)
    ]
    together = [torch.stack(shares, dim=1).reshape(-1).tolist() for shares in zip(*after, strict=True)]
    assert together == whole[stop:]


def test_slow_reads_do_not_change_the_order() -> None:
    first = threading.Event()

    def late(indices: torch.Tensor) -> None:
        """The batch that holds sample 0 of the first epoch waits until another one is read."""
        if 0 in indices.tolist():
            first.wait(10)
        else:
            first.set()

    order = Order(8, 2, seed=1)
    batches = read(Numbers(8, late), order, 4, threads=2)
    assert [each.indices.tolist() for each in batches] == [order.indices(1, batch).tolist() for batch in range(4)]


@pytest.mark.parametrize(("threads", "ahead"), [(1, 1), (2, 4), (4, 2)])
def test_no_more_is_read_ahead_than_was_asked_for(threads: int, ahead: int) -> None:
    taken: list[int] = []
    with loader(Numbers(100, lambda _: taken.append(1)), Order(100, 1, seed=0), threads=threads, ahead=ahead) as opened:
        for given_out in range(1, 20):
            next(opened)
            assert len(taken) <= given_out + ahead
    assert len(taken) <= 19 + ahead


def test_an_error_of_the_data_comes_out_of_its_own_batch_and_stays() -> None:
    order = Order(10, 1, seed=0)
    wrong = order.indices(1, 3)

    def fail(indices: torch.Tensor) -> None:
        if torch.equal(indices, wrong):
            raise KeyError("no such picture")

    with loader(Numbers(10, fail), order) as opened:
        assert len(list(islice(opened, 3))) == 3
        for _ in range(2):
            with pytest.raises(DataError, match=r"batch 3 of epoch 1(?s:.*)KeyError: 'no such picture'"):
                next(opened)


def test_an_error_of_our_own_is_not_wrapped() -> None:
    def fail(_: torch.Tensor) -> None:
        raise DataError("Row group 7 is torn")

    with loader(Numbers(10, fail), Order(10, 1, seed=0)) as opened, pytest.raises(DataError, match=r"^Row group 7"):
        next(opened)


def test_a_reader_that_exits_does_not_leave_the_caller_waiting() -> None:
    def fail(_: torch.Tensor) -> None:
        raise SystemExit(3)

    with loader(Numbers(10, fail), Order(10, 1, seed=0)) as opened, pytest.raises(DataError, match="SystemExit"):
        next(opened)


def test_closing_twice_and_before_the_first_batch() -> None:
    opened = loader(Numbers(10), Order(10, 1, seed=0))
    opened.close()
    opened.close()


def test_closing_waits_for_no_read_that_never_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepworks.training.data.loader._SECONDS_TO_END", 0.05)
    stuck = threading.Event()
    opened = loader(Numbers(10, lambda _: stuck.wait(30) and None), Order(10, 1, seed=0))
    started = time.monotonic()
    opened.close()
    assert time.monotonic() - started < 20
    stuck.set()
    for thread in threading.enumerate():
        if thread.name.startswith("reader-"):
            thread.join(30)
            assert not thread.is_alive()


def test_a_disk_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepworks.training.data.loader._SECONDS_TO_READ", 0.05)
    go = threading.Event()
    with loader(Numbers(10, lambda _: go.wait(30) and None), Order(10, 1, seed=0)) as opened:
        with pytest.raises(ResourceError, match=r"Batch 0 of epoch 1 is not read(?s:.*)no answer in 0\.05 seconds"):
            next(opened)
        go.set()


def test_the_wait_is_told() -> None:
    go = threading.Event()
    threading.Timer(0.2, go.set).start()
    with loader(Numbers(10, lambda _: go.wait(30) and None), Order(10, 1, seed=0)) as opened:
        assert next(opened).waited > 0.05


@pytest.mark.parametrize("start", [Position(0, 0), Position(1, 5), Position(1, -1)])
def test_a_start_outside_the_data_is_refused(start: Position) -> None:
    with pytest.raises(ConfigurationError, match=f"epoch {start.epoch}, batch {start.batch}"):
        loader(Numbers(10), Order(10, 2, seed=0), start)


def test_an_order_of_other_samples_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="11 samples, an order of 10"):
        loader(Numbers(11), Order(10, 2, seed=0))


def test_a_world_that_does_not_divide_is_refused_before_a_thread_starts() -> None:
    with pytest.raises(ConfigurationError, match="3 processes"):
        loader(Numbers(10), Order(10, 2, seed=0), world=3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_batches_come_to_a_gpu_whole() -> None:
    order = Order(4096, 64, seed=0)
    device = torch.device("cuda")
    with Loader(Numbers(4096), order, rank=0, world=1, device=device) as opened:
        for batch in islice(opened, 200):
            assert batch.targets.is_cuda
            assert torch.equal(batch.targets.cpu(), batch.indices * 10)
            assert torch.equal(batch.inputs[0].cpu(), batch.indices.float())
