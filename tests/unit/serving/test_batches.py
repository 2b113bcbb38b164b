"""Requests that are answered together, and keep their own answers and their own mistakes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from stepworks.serving.batches import Batches

Array = npt.NDArray[Any]


class Doubling:
    """Doubles a column; refuses negative numbers. Its first run lasts until it is let go."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.begun = threading.Event()
        self.goes_on = threading.Event()

    def __call__(self, feed: Mapping[str, Array]) -> Array:
        values = feed["value"]
        self.sizes.append(len(values))
        self.begun.set()
        assert self.goes_on.wait(30)
        if (values < 0).any():
            raise ValueError("a negative number")
        return values * 2


def rows(*values: float) -> dict[str, Array]:
    return {"value": np.array(values, np.float32).reshape(-1, 1)}


async def while_busy(model: Doubling, batches: Batches, feeds: list[dict[str, Array]]) -> list[Any]:
    """The answer to each feed, or its error; all come while the model answers the first."""
    first = asyncio.create_task(batches.answer(feeds[0]))
    while not model.begun.is_set():
        await asyncio.sleep(0.001)
    others = [asyncio.create_task(batches.answer(feed)) for feed in feeds[1:]]
    await asyncio.sleep(0)  # each is in line
    model.goes_on.set()
    return await asyncio.gather(first, *others, return_exceptions=True)


def told(answers: list[Any]) -> list[Any]:
    return [str(each) if isinstance(each, Exception) else each[:, 0].tolist() for each in answers]


def test_what_comes_while_the_model_is_busy_runs_together() -> None:
    model = Doubling()
    batches = Batches(model)
    feeds = [rows(1), rows(2, 3), rows(4), rows(5)]
    assert told(asyncio.run(while_busy(model, batches, feeds))) == [[2], [4, 6], [8], [10]]
    assert model.sizes == [1, 4]


def test_a_request_that_fails_fails_alone() -> None:
    model = Doubling()
    answers = told(asyncio.run(while_busy(model, Batches(model), [rows(1), rows(2), rows(-3), rows(4)])))
    assert answers == [[2], [4], "a negative number", [8]]


@pytest.mark.parametrize(
    ("sizes", "runs"), [([1, 2, 2, 2], [1, 4, 2]), ([1, 9, 1], [1, 9, 1]), ([1, 1, 9, 1], [1, 1, 9, 1])]
)
def test_no_more_rows_run_together_than_are_allowed(sizes: list[int], runs: list[int]) -> None:
    model = Doubling()
    feeds = [rows(*range(size)) for size in sizes]
    answers = asyncio.run(while_busy(model, Batches(model, largest=4), feeds))
    assert [len(each) for each in answers] == sizes
    assert model.sizes == runs


def test_a_client_that_goes_away_takes_nobody_with_it() -> None:
    model = Doubling()

    async def scenario() -> list[Any]:
        batches = Batches(model)
        first = asyncio.create_task(batches.answer(rows(1)))
        while not model.begun.is_set():
            await asyncio.sleep(0.001)
        gone, stays = asyncio.create_task(batches.answer(rows(2))), asyncio.create_task(batches.answer(rows(3)))
        await asyncio.sleep(0)
        first.cancel()
        gone.cancel()
        model.goes_on.set()
        answers = [await stays]
        return [*answers, await batches.answer(rows(4))]

    assert told(asyncio.run(scenario())) == [[6], [8]]


def test_a_graph_that_cannot_take_rows_together_is_asked_for_each() -> None:
    model = Doubling()
    batches = Batches(lambda feed: model(feed)[:1])
    assert told(asyncio.run(while_busy(model, batches, [rows(1), rows(2), rows(3)]))) == [[2], [4], [6]]
    assert model.sizes == [1, 2, 1, 1]
