import re
from itertools import combinations

import pytest

from stepworks.report.graph import NODE_HEIGHT, NODE_WIDTH, lay_out
from stepworks.report.run_record import RunRecord


@pytest.fixture
def waits_for(run: RunRecord) -> dict[str, list[str]]:
    return {step.name: step.depends_on for step in run.steps}


@pytest.mark.parametrize("columns", [1, 2, 5, 20])
def test_no_step_lies_on_another_and_all_are_inside(columns: int, waits_for: dict[str, list[str]]) -> None:
    layout = lay_out(waits_for, columns)
    assert set(layout.places) == set(waits_for)
    for (one_x, one_y), (other_x, other_y) in combinations(layout.places.values(), 2):
        assert abs(one_x - other_x) >= NODE_WIDTH or abs(one_y - other_y) >= NODE_HEIGHT
    for x, y in layout.places.values():
        assert 0 <= x <= layout.width - NODE_WIDTH
        assert 0 <= y <= layout.height - NODE_HEIGHT


@pytest.mark.parametrize("columns", [1, 2, 5, 20])
def test_each_step_stands_after_what_it_waits_for(columns: int, waits_for: dict[str, list[str]]) -> None:
    """Later in the line, or in a line below."""
    layout = lay_out(waits_for, columns)
    bands = _bands(layout.places, waits_for)
    for step, others in waits_for.items():
        for other in others:
            before, after = layout.places[other], layout.places[step]
            assert bands[other] < bands[step] or (bands[other] == bands[step] and before[0] < after[0])


def _bands(places: dict[str, tuple[float, float]], waits_for: dict[str, list[str]]) -> dict[str, int]:
    """The line of each step: a new one begins below all that was placed so far."""
    band, bottom, found = -1, float("-inf"), {}
    for step, (_, y) in sorted(places.items(), key=lambda placed: placed[1][1]):
        if y >= bottom + NODE_HEIGHT / 2:
            band += 1
        bottom = max(bottom, y + NODE_HEIGHT)
        found[step] = band
    return found


def test_an_edge_that_a_longer_way_implies_is_left_out(waits_for: dict[str, list[str]]) -> None:
    routes = set(lay_out(waits_for, 5).routes)
    assert ("validate-table", "split-table") in routes
    assert ("ingest-table", "split-table") not in routes
    assert ("train", "package-model") not in routes
    assert len(routes) == 13


@pytest.mark.parametrize("columns", [1, 2, 3, 9])
def test_every_edge_ends_at_the_left_side_of_its_step(columns: int) -> None:
    """Two ways of different lengths meet, so one passes by a layer."""
    waits_for = {"a": [], "b": ["a"], "c": ["b"], "d": ["c"], "short": ["a"], "end": ["short", "d"], "alone": []}
    layout = lay_out(waits_for, columns)
    assert set(layout.routes) == {("a", "b"), ("b", "c"), ("c", "d"), ("a", "short"), ("short", "end"), ("d", "end")}
    for (first, last), path in layout.routes.items():
        x, y = layout.places[first]
        assert path.startswith(f"M{x + NODE_WIDTH:g} {y + NODE_HEIGHT / 2:g}")
        x, y = layout.places[last]
        assert _end_of(path.removesuffix("m-5-3.5l5 3.5l-5 3.5")) == pytest.approx((x, y + NODE_HEIGHT / 2))


def _end_of(path: str) -> tuple[float, float]:
    x = y = 0.0
    for command, written in re.findall(r"([A-Za-z])([^A-Za-z]*)", path):
        numbers = [float(number) for number in re.findall(r"-?[\d.]+", written)]
        if command in "MC":
            x, y = numbers[-2:]
        elif command == "H":
            x = numbers[0]
        elif command == "h":
            x += numbers[0]
        elif command == "V":
            y = numbers[0]
        elif command == "q":
            x, y = x + numbers[-2], y + numbers[-1]
    return x, y


def test_steps_outside_of_the_graph_are_ignored_and_no_steps_are_no_drawing() -> None:
    assert lay_out({"a": ["elsewhere"]}, 5).routes == {}
    assert lay_out({}, 5).places == {}
