"""The order in which samples are trained on: a pure function of seed, epoch, number of samples and block sizes.

Nothing is drawn from a generator and nothing is kept: the index at any position of any epoch is computed where it is
asked for. A run resumes at a position without reading what came before it, each rank computes its own share, and the
memory does not grow with the data. All is integer arithmetic on 64 bits, so the order is the same on every platform
and with every version of torch and numpy.

Samples that come in blocks (the row groups of a Parquet file) are mixed so that reading stays local. The blocks are
permuted, and each is dealt out, row by row, into `BLOCKS_AT_ONCE` chunks. A segment is made of one chunk of each of
`BLOCKS_AT_ONCE` successive blocks, and is permuted as a whole; the next segment leaves one block and enters one::

    segment 0: chunk 0 of block A, chunk 1 of block Z, chunk 2 of block Y, chunk 3 of block X
    segment 1: chunk 0 of block B, chunk 1 of block A, chunk 2 of block Z, chunk 3 of block Y

Samples without blocks are one block, one chunk and one segment: any sample may follow any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from stepworks.errors import ConfigurationError, DataError

BLOCKS_AT_ONCE = 4
"""Of how many blocks the samples of a batch are; what reads them holds so many, and two more on the way."""

_Unsigned = NDArray[np.uint64]
_ROUNDS = 8
_INDICES_AT_ONCE = 16_384
# The odd integer nearest to 2^64 divided by the golden ratio: its multiples are spread evenly.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class _Epoch:
    """The layout of one epoch: the chunks in the order of their segments."""

    segment_starts: NDArray[np.int64]  # with the end of the last one
    segment_keys: _Unsigned
    chunk_starts: NDArray[np.int64]  # position of the first row of the chunk
    chunk_blocks: NDArray[np.int64]
    chunk_numbers: NDArray[np.int64]  # which of its block's chunks it is


class Order:
    """Batches of sample indices.

    The batch at a position is the same set in the same order for every world size that divides it: rank r takes every
    `world`-th index, beginning with the r-th.

    Args:
        samples: The number of samples.
        global_batch: Samples of one batch, all ranks together. The last, smaller batch of an epoch is left out;
            which samples are in it differs from epoch to epoch.
        seed: Any integer; another seed is another order.
        block_sizes: The lengths of runs of samples that are cheap to read together; None if there are none.

    Raises:
        DataError: There is no sample.
        ConfigurationError: The batch is larger than the data or not positive, or the blocks are not all samples.
    """

    def __init__(self, samples: int, global_batch: int, seed: int, block_sizes: Sequence[int] | None = None) -> None:
        self.samples = samples
        self.global_batch = global_batch
        self.seed = seed
        sizes = np.asarray([samples] if block_sizes is None else block_sizes, dtype=np.int64)
        _check(samples, global_batch, sizes)
        self.batches_per_epoch = samples // global_batch
        self._block_sizes = sizes[sizes > 0]
        self._block_starts = np.cumsum(self._block_sizes) - self._block_sizes
        self._chunks_per_block = min(BLOCKS_AT_ONCE, len(self._block_sizes))
        self._last_layout: tuple[int, _Epoch] | None = None
        self._last_run: tuple[tuple[int, int, int, int], NDArray[np.int64]] | None = None

    def indices(self, epoch: int, batch: int, rank: int = 0, world: int = 1) -> torch.Tensor:
        """The indices of one rank's share of a batch.

        Args:
            epoch: Counts from 1.
            batch: Counts from 0 to `batches_per_epoch` - 1.
            rank: Counts from 0 to `world` - 1.
            world: The number of ranks.

        Returns:
            int64 of shape [global_batch / world].

        Raises:
            ConfigurationError: The batch cannot be shared out evenly.
        """
        assert epoch >= 1
        assert 0 <= batch < self.batches_per_epoch
        assert 0 <= rank < world
        if self.global_batch % world:
            raise ConfigurationError(
                "The batch cannot be shared out evenly among the processes",
                received=f"a global batch of {self.global_batch} samples, {world} processes",
                expected="a batch that the number of processes divides",
                what_to_do=f"Choose a global batch that is a multiple of {world}, or another number of processes.",
            )
        # Several batches are computed in one go, since numpy takes as long for a hundred numbers as for a thousand.
        run_length = max(1, _INDICES_AT_ONCE * world // self.global_batch)
        run = (epoch, batch // run_length, rank, world)
        kept = self._last_run
        if kept is None or kept[0] != run:
            kept = self._last_run = (run, self._run(epoch, run[1] * run_length, run_length, rank, world))
        return torch.from_numpy(kept[1][batch % run_length].copy())

    def _run(self, epoch: int, first: int, length: int, rank: int, world: int) -> NDArray[np.int64]:
        """One rank's share of `length` batches from `first` on, or of fewer at the end of the epoch; a row a batch."""
        last = min(first + length, self.batches_per_epoch)
        positions = np.arange(first * self.global_batch + rank, last * self.global_batch, world, dtype=np.int64)
        return self._at(self._layout(epoch), positions).reshape(last - first, -1)

    def _at(self, layout: _Epoch, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """The sample indices at positions of an epoch."""
        if self._chunks_per_block == 1:
            return _permuted(positions, self._block_sizes, layout.segment_keys)
        segment = np.searchsorted(layout.segment_starts, positions, side="right") - 1
        start = layout.segment_starts[segment]
        size = layout.segment_starts[segment + 1] - start
        mixed = start + _permuted(positions - start, size, layout.segment_keys[segment])
        chunk = np.searchsorted(layout.chunk_starts, mixed, side="right") - 1
        row = (mixed - layout.chunk_starts[chunk]) * self._chunks_per_block + layout.chunk_numbers[chunk]
        return self._block_starts[layout.chunk_blocks[chunk]] + row

    def _layout(self, epoch: int) -> _Epoch:
        """The layout of an epoch, kept for the next call; threads that meet here compute the same."""
        kept = self._last_layout
        if kept is None or kept[0] != epoch:
            kept = self._last_layout = (epoch, self._lay_out(epoch))
        return kept[1]

    def _lay_out(self, epoch: int) -> _Epoch:
        blocks, chunks = len(self._block_sizes), self._chunks_per_block
        key = _mixed(_mixed(_word(self.seed)) + _word(epoch))
        places = np.arange(blocks, dtype=np.int64)
        block_order = _permuted(places, np.array([blocks]), key + _GOLDEN)
        # Segment s holds of the block at place s - j its j-th chunk, counted from a random one. At the ends of the
        # epoch the places go round, so that every segment is made of as many blocks.
        lag = np.arange(chunks, dtype=np.int64)
        chunk_blocks = block_order[(places[:, None] - lag) % blocks].reshape(-1)
        first_chunk = _mixed(key ^ (_unsigned(chunk_blocks) * _GOLDEN)) % np.uint64(chunks)
        chunk_numbers = (np.tile(lag, blocks) + first_chunk.astype(np.int64)) % chunks
        chunk_sizes = (self._block_sizes[chunk_blocks] - chunk_numbers + chunks - 1) // chunks
        ends = np.cumsum(chunk_sizes)
        return _Epoch(
            segment_starts=np.concatenate([[0], ends[chunks - 1 :: chunks]]),
            segment_keys=_mixed(key + _unsigned(places + 2) * _GOLDEN),
            chunk_starts=ends - chunk_sizes,
            chunk_blocks=chunk_blocks,
            chunk_numbers=chunk_numbers,
        )


def _check(samples: int, global_batch: int, block_sizes: NDArray[np.int64]) -> None:
    if samples < 1:
        raise DataError(
            "There is nothing to train on",
            received=f"{samples} samples",
            expected="at least one",
            what_to_do="Look at the data that the data builder was given.",
        )
    if not 1 <= global_batch <= samples:
        raise ConfigurationError(
            "The batch is larger than the training data" if global_batch > samples else "The batch is empty",
            received=f"a global batch of {global_batch} samples, {samples} samples",
            expected="a global batch from 1 to the number of samples",
            what_to_do="Lower batch_size, or give more data." if global_batch > samples else "Correct batch_size.",
        )
    if int(block_sizes.sum()) != samples or bool((block_sizes < 0).any()):
        raise ConfigurationError(
            "The blocks of the data builder are not its samples",
            received=f"{len(block_sizes)} block sizes, {block_sizes.sum()} together, and {samples} samples",
            expected="block_sizes that add up to the length",
            what_to_do="Correct block_sizes in the data builder.",
        )


def _permuted(positions: NDArray[np.int64], sizes: NDArray[np.int64], keys: _Unsigned) -> NDArray[np.int64]:
    """Where a permutation of `sizes` elements, one of 2^64 by its key, puts each of the positions.

    An unbalanced Feistel network over a rectangle that is just large enough, which adds instead of xor: one
    coordinate changes by a hash of the other, in turn, so that each round can be undone. What falls outside `sizes`
    is put in again until it falls inside. Sizes and keys are one for all positions, or one for each.
    """
    rows = np.ceil(np.sqrt(sizes.astype(np.float64))).astype(np.int64)
    shape = (_unsigned(rows), _unsigned(-(-sizes // rows)), keys)
    result = _through_rounds(_unsigned(positions), *shape).astype(np.int64)
    outside = np.flatnonzero(result >= sizes)
    while len(outside):
        sizes_outside = np.broadcast_to(sizes, positions.shape)[outside]
        shape_outside = (np.broadcast_to(values, positions.shape)[outside] for values in shape)
        again = _through_rounds(_unsigned(result[outside]), *shape_outside).astype(np.int64)
        result[outside] = again
        outside = outside[again >= sizes_outside]
    return result


def _through_rounds(values: _Unsigned, rows: _Unsigned, columns: _Unsigned, keys: _Unsigned) -> _Unsigned:
    down, across = np.divmod(values, columns)
    for number in range(1, _ROUNDS + 1):
        round_keys = keys + _word(number) * _GOLDEN
        if number % 2:
            down += _hashed_below(across, round_keys, rows)
            down -= rows * (down >= rows)
        else:
            across += _hashed_below(down, round_keys, columns)
            across -= columns * (across >= columns)
    return down * columns + across


def _hashed_below(values: _Unsigned, keys: _Unsigned, below: _Unsigned) -> _Unsigned:
    """A hash of each value from 0 to `below` - 1, where `below` is under 2^32."""
    words = values * _GOLDEN
    words ^= keys
    words ^= words >> np.uint64(32)
    words *= np.uint64(0xBF58476D1CE4E5B9)
    words >>= np.uint64(32)
    words *= below
    words >>= np.uint64(32)
    return words


def _mixed(words: _Unsigned) -> _Unsigned:
    """The finaliser of SplitMix64: each bit of the result depends on each bit of the word."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def _word(number: int) -> _Unsigned:
    """An integer, negative ones too, as an array of one word: arrays overflow in silence, scalars warn."""
    return np.array([number & 0xFFFF_FFFF_FFFF_FFFF], dtype=np.uint64)


def _unsigned(values: NDArray[np.int64] | _Unsigned) -> _Unsigned:
    return values.astype(np.uint64, copy=False)
