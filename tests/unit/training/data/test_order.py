"""The order of samples: what it holds for every size, batch, world, position and layout of blocks."""

import tracemalloc

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stepworks.errors import ConfigurationError, DataError
from stepworks.training.data.order import BLOCKS_AT_ONCE, Order

block_layouts = st.lists(st.integers(0, 40), min_size=1, max_size=30).filter(lambda sizes: sum(sizes) > 0)


def epoch_of(order: Order, epoch: int, world: int = 1) -> list[int]:
    """The indices of an epoch, put together again from those of all ranks."""
    shares = [
        torch.cat([order.indices(epoch, batch, rank, world) for batch in range(order.batches_per_epoch)])
        for rank in range(world)
    ]
    indices: list[int] = torch.stack(shares, dim=1).reshape(-1).tolist()
    return indices


def test_the_order_is_pinned() -> None:
    """A change here makes every checkpoint resume on other samples."""
    assert epoch_of(Order(10, 5, seed=0), 1) == [4, 8, 7, 2, 5, 6, 3, 9, 0, 1]
    assert epoch_of(Order(10, 5, seed=0), 2) == [3, 9, 2, 0, 5, 4, 8, 7, 6, 1]
    assert Order(1_000_000_007, 4, seed=-3).indices(7, 100_000_000).tolist() == PINNED_LARGE
    assert epoch_of(Order(12, 4, seed=1, block_sizes=[4, 0, 2, 6]), 3) == PINNED_BLOCKS


PINNED_LARGE = [942725860, 360681109, 127365734, 974822595]
PINNED_BLOCKS = [4, 11, 0, 3, 8, 9, 6, 5, 1, 10, 2, 7]


@settings(deadline=None)
@given(samples=st.integers(1, 500), seed=st.integers(), epoch=st.integers(1, 10**6))
def test_an_epoch_is_every_sample_once(samples: int, seed: int, epoch: int) -> None:
    assert sorted(epoch_of(Order(samples, 1, seed), epoch)) == list(range(samples))


@settings(deadline=None)
@given(sizes=block_layouts, seed=st.integers(0, 2**70), epoch=st.integers(1, 100))
def test_an_epoch_in_blocks_is_every_sample_once(sizes: list[int], seed: int, epoch: int) -> None:
    assert sorted(epoch_of(Order(sum(sizes), 1, seed, sizes), epoch)) == list(range(sum(sizes)))


@settings(deadline=None)
@given(sizes=block_layouts, shares=st.integers(1, 6), in_blocks=st.booleans(), data=st.data())
def test_a_batch_is_the_same_for_every_world_that_divides_it(
    sizes: list[int], shares: int, in_blocks: bool, data: st.DataObject
) -> None:
    samples, batch = sum(sizes), min(12 * shares, sum(sizes))
    order = Order(samples, batch, 4, sizes if in_blocks else None)
    alone = epoch_of(order, 2)
    assert len(set(alone)) == len(alone) == samples // batch * batch
    world = data.draw(st.sampled_from([world for world in range(1, batch + 1) if batch % world == 0]))
    assert epoch_of(order, 2, world) == alone


@settings(deadline=None)
@given(sizes=block_layouts, data=st.data())
def test_a_batch_does_not_depend_on_what_was_asked_before(sizes: list[int], data: st.DataObject) -> None:
    samples = sum(sizes)
    used = Order(samples, 1, 9, sizes)
    asked = data.draw(st.lists(st.tuples(st.integers(1, 5), st.integers(0, samples - 1)), min_size=1, max_size=20))
    for epoch, batch in asked:
        fresh = Order(samples, 1, 9, sizes)
        assert torch.equal(used.indices(epoch, batch), fresh.indices(epoch, batch))


def test_what_a_caller_does_to_its_indices_changes_no_later_ones() -> None:
    order = Order(100, 10, seed=0)
    before = order.indices(1, 3).clone()
    order.indices(1, 3).zero_()
    assert torch.equal(order.indices(1, 3), before)


@pytest.mark.parametrize("blocks", [None, [25] * 4, [1] * 100])
def test_another_seed_or_epoch_is_another_order(blocks: list[int] | None) -> None:
    orders = [epoch_of(Order(100, 10, seed, blocks), epoch) for seed in (1, 2) for epoch in (1, 2)]
    assert len({tuple(order) for order in orders}) == 4


@pytest.mark.parametrize("samples", [3, 4, 5, 10])
def test_every_order_is_as_likely_as_any_other(samples: int) -> None:
    """Pearson's test on how often each sample is at each place, and follows at each distance, over fixed seeds."""
    epochs = 1000
    at = torch.zeros(samples, samples)
    follows = torch.zeros(samples)
    for epoch in range(1, epochs + 1):
        indices = Order(samples, samples, seed=11).indices(epoch, 0)
        at[torch.arange(samples), indices] += 1
        follows += torch.bincount(indices.diff() % samples, minlength=samples)
    expected = epochs / samples
    # The mean of the statistic is its degrees of freedom; a sound order is here under three deviations above it.
    assert float(((at - expected) ** 2 / expected).sum()) < limit((samples - 1) ** 2)
    assert float(((follows[1:] - epochs) ** 2 / epochs).sum()) < limit(samples - 2)


def limit(freedom: int) -> float:
    return freedom + 3 * (2 * freedom) ** 0.5


def test_left_out_samples_differ_from_epoch_to_epoch() -> None:
    order = Order(103, 10, seed=0)
    assert order.batches_per_epoch == 10
    left_out = [frozenset(range(103)) - set(epoch_of(order, epoch)) for epoch in range(1, 6)]
    assert all(len(each) == 3 for each in left_out)
    assert len(set(left_out)) == 5


def test_reading_in_blocks_stays_local() -> None:
    """Of few blocks at any time, each entered once but for those at the ends of the epoch."""
    size, count = 100, 50
    order = Order(size * count, size, seed=3, block_sizes=[size] * count)
    now = [set((order.indices(1, batch) // size).tolist()) for batch in range(order.batches_per_epoch)]
    assert {len(blocks) for blocks in now} == {BLOCKS_AT_ONCE}
    entered = sum(len(later - earlier) for earlier, later in zip([set(), *now[:-1]], now, strict=True))
    assert entered == count + BLOCKS_AT_ONCE - 1


def test_the_memory_of_an_order_does_not_grow_with_the_samples() -> None:
    def peak(samples: int) -> int:
        tracemalloc.start()
        order = Order(samples, 64, seed=0)
        for batch in (0, order.batches_per_epoch - 1):
            order.indices(3, batch)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak

    peak(10**5)
    assert peak(10**12) < 1.2 * peak(10**5) < 10_000_000


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0, 1, 0), DataError, "nothing to train on"),
        ((10, 11, 0), ConfigurationError, "global batch of 11 samples, 10 samples"),
        ((10, 0, 0), ConfigurationError, "batch is empty"),
        ((10, 2, 0, [5, 4]), ConfigurationError, "2 block sizes, 9 together, and 10 samples"),
        ((10, 2, 0, [12, -2]), ConfigurationError, "block_sizes that add up"),
    ],
)
def test_an_order_that_cannot_be_is_told(arguments: tuple[int, int, int], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match="(?s)" + message):
        Order(*arguments)


def test_a_world_that_does_not_divide_the_batch_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="global batch of 8 samples, 3 processes"):
        Order(100, 8, seed=0).indices(1, 0, rank=0, world=3)
