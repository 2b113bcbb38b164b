"""How many accelerators a pipeline may hold at once.

Inside a dag the peak is the heaviest set of tasks of which none waits for another (an antichain). The set is taken
apart where it is parallel, whose parts add up, and where it is in series, of whose parts the largest counts. What can
be taken apart in neither way gets the exact answer from a flow when it is small, and a sum over chains, which is never
too low, when it is large.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from stepworks.kubeflow.ir.graph import MOST_BRANCHES, downstream_masks, exclude_each_other, upstream_masks
from stepworks.kubeflow.ir.model import ROOT, Dag, Ir, Task
from stepworks.kubeflow.ir.values import Values

LARGEST_FLOW = 60
"""Tasks of a dag that is neither parallel nor in series, up to which the peak is exact."""

MOST_TYPES = 20
"""Types of accelerators that are counted one by one, the first by name. Each takes a search of the whole pipeline."""

OTHER_TYPES = "other types"
"""What stands for the rest in `Peak.by_type`."""

DEEPEST_SPLIT = 100
"""How often the tasks of a dag are taken apart, parallel and series in turn."""


@dataclass(frozen=True)
class Peak:
    """The accelerators that a pipeline may hold at once.

    Attributes:
        count: How many at most, of all types together. Where `unbounded` or `unknown` has something, it is the least
            that the peak may be: such a loop is counted with one iteration, such a task with one accelerator.
        by_type: How many of each type, of the types beyond MOST_TYPES together; their sum is above `count` where types
            take turns.
        unbounded: The paths of loops of which any number of iterations may hold accelerators at once.
        unknown: The paths of tasks whose number of accelerators only the run knows.
    """

    count: int
    by_type: Mapping[str, int]
    unbounded: tuple[str, ...]
    unknown: tuple[str, ...]


def peak_accelerators(ir: Ir) -> Peak:
    """Find the most accelerators that a pipeline may hold at once."""
    values = Values(ir)
    asking = [task for task in ir.tasks if task.executor and values.accelerator_type(task)]
    types = sorted({values.accelerator_type(task) for task in asking})
    groups = {each: {each} for each in types[:MOST_TYPES]}
    if len(types) > MOST_TYPES:
        groups[OTHER_TYPES] = set(types[MOST_TYPES:])
    total, unbounded = peak_of(ir, _weight(values, types))
    return Peak(
        count=total,
        by_type={name: peak_of(ir, _weight(values, group))[0] for name, group in groups.items()},
        unbounded=unbounded,
        unknown=tuple(task.path for task in asking if values.accelerator_count(task) is None),
    )


def _weight(values: Values, types: Collection[str]) -> Callable[[Task], int]:
    """How many accelerators of some types a task holds; one where only the run knows."""

    def weigh(task: Task) -> int:
        if values.accelerator_type(task) not in types:
            return 0
        amount = values.accelerator_count(task)
        return 1 if amount is None else amount

    return weigh


def peak_of(ir: Ir, weigh: Callable[[Task], int]) -> tuple[int, tuple[str, ...]]:
    """Find the most that a pipeline may hold at once of something.

    Args:
        ir: The pipeline.
        weigh: How much of it a task with an executor holds.

    Returns:
        The most, or the least that it may be where there are loops without bounds; and the paths of these loops, which
        are counted with one iteration.
    """
    search = _Search(ir, weigh)
    return search.peak(), tuple(dict.fromkeys(search.unbounded))


class _Search:
    """The peak of something; each dag is looked at once, however often it is used."""

    def __init__(self, ir: Ir, weigh: Callable[[Task], int]) -> None:
        self._ir = ir
        self._weigh = weigh
        self._peaks: dict[str, int] = {}
        self.unbounded: list[str] = []

    def peak(self) -> int:
        """The peak of the pipeline."""
        for dag in reversed(_inner_last(self._ir)):
            weights = {name: weight for name, task in dag.tasks.items() if (weight := self._weight(task))}
            self._peaks[dag.component] = heaviest_antichain(dag, weights)
        return self._peaks[ROOT]

    def _weight(self, task: Task) -> int:
        weight = self._peaks[task.component] if task.has_dag else self._weigh(task)
        return weight * self._iterations(task) if weight else 0

    def _iterations(self, task: Task) -> int:
        iterator = task.iterator
        if iterator is None:
            return 1
        bounds = [bound for bound in (iterator.count, iterator.parallelism_limit) if bound is not None]
        if not bounds:
            self.unbounded.append(task.path)
            return 1
        return min(bounds)


def _inner_last(ir: Ir) -> list[Dag]:
    """The dags, each before those that its tasks hold."""
    holders: dict[str, int] = dict.fromkeys(ir.dags, 0)
    inner = {name: {task.component for task in dag.tasks.values() if task.has_dag} for name, dag in ir.dags.items()}
    for names in inner.values():
        for name in names:
            holders[name] += 1
    ordered = [name for name, number in holders.items() if not number]
    for name in ordered:  # grows while it is read
        for each in inner[name]:
            holders[each] -= 1
            if not holders[each]:
                ordered.append(each)
    return [ir.dags[name] for name in ordered]


def heaviest_antichain(dag: Dag, weights: Mapping[str, int]) -> int:
    """The weight of the heaviest set of tasks of which none is upstream of another, or a little above it."""
    names = list(weights)
    if _all_exclude_each_other(dag, names):
        return max(weights.values(), default=0)
    up, down = upstream_masks(dag, names), downstream_masks(dag, names)
    poset = _Poset(
        weights=[weights[name] for name in names],
        below=[up[name] for name in names],
        comparable=[up[name] | down[name] for name in names],
    )
    return _heaviest(poset, (1 << len(names)) - 1, 0)


def _all_exclude_each_other(dag: Dag, names: list[str]) -> bool:
    """Whether these are the branches of one If. kfp puts them into a dag of their own."""
    tasks = [dag.tasks[name] for name in names]
    return (
        1 < len(tasks) <= MOST_BRANCHES
        and all(task.condition for task in tasks)
        and all(exclude_each_other(one, other) for index, one in enumerate(tasks) for other in tasks[:index])
    )


@dataclass(frozen=True)
class _Poset:
    """Tasks by number: their weights, which are upstream of each, and which are upstream or downstream."""

    weights: list[int]
    below: list[int]
    comparable: list[int]


def _heaviest(poset: _Poset, members: int, depth: int) -> int:
    """The weight of the heaviest antichain among members, which are a number with one bit for each."""
    if members & (members - 1) == 0:
        return poset.weights[members.bit_length() - 1] if members else 0
    if depth < DEEPEST_SPLIT:
        parallel = _components(members, lambda index: poset.comparable[index])
        if len(parallel) > 1:
            return sum(_heaviest(poset, part, depth + 1) for part in parallel)
        series = _components(members, lambda index: ~(poset.comparable[index] | 1 << index))
        if len(series) > 1:
            return max(_heaviest(poset, part, depth + 1) for part in series)
    indices = _indices(members)
    search = _by_flow if len(indices) <= LARGEST_FLOW else _by_chains
    return search(indices, poset.weights, poset.below)


def _components(members: int, neighbours: Callable[[int], int]) -> list[int]:
    """The connected parts of a graph, each as a number with one bit for each member."""
    parts = []
    while members:
        part = frontier = members & -members
        members ^= part
        while frontier:
            index = frontier.bit_length() - 1
            frontier ^= 1 << index
            found = neighbours(index) & members
            members ^= found
            part |= found
            frontier |= found
        parts.append(part)
    return parts


def _indices(mask: int) -> list[int]:
    return [index for index, bit in enumerate(reversed(f"{mask:b}")) if bit == "1"]


def _by_flow(indices: list[int], weights: list[int], below: list[int]) -> int:
    """Exact, by Dilworth's theorem: all weight, less what a largest flow between comparable tasks can pair up."""
    supply = {index: weights[index] for index in indices}
    demand = dict(supply)
    flow: dict[tuple[int, int], int] = {}
    total = 0
    for source in indices:
        while supply[source] and (way := _augmenting_way(source, indices, below, demand, flow)):
            amount = min(
                supply[source], demand[way[-1]], *(flow[way[i + 1], way[i]] for i in range(1, len(way) - 1, 2))
            )
            for i in range(0, len(way) - 1, 2):
                flow[way[i], way[i + 1]] = flow.get((way[i], way[i + 1]), 0) + amount
            for i in range(1, len(way) - 1, 2):
                flow[way[i + 1], way[i]] -= amount
            supply[source] -= amount
            demand[way[-1]] -= amount
            total += amount
    return sum(weights[index] for index in indices) - total


def _augmenting_way(
    source: int, indices: list[int], below: list[int], demand: Mapping[int, int], flow: Mapping[tuple[int, int], int]
) -> list[int]:
    """A way upper, lower, upper, …, lower: along comparable pairs, and back along pairs that hold a flow."""
    came_from: dict[int, int] = {}  # lower side: the upper that it was reached from
    back: dict[int, int] = {source: -1}  # upper side: the lower that it was reached from
    queue = [source]
    for upper in queue:  # grows while it is read
        for lower in indices:
            if lower in came_from or not below[upper] >> lower & 1:
                continue
            came_from[lower] = upper
            if demand[lower]:
                return _unwind(lower, came_from, back)
            for other in indices:
                if other not in back and flow.get((other, lower), 0):
                    back[other] = lower
                    queue.append(other)
    return []


def _unwind(lower: int, came_from: Mapping[int, int], back: Mapping[int, int]) -> list[int]:
    way = [lower]
    while True:
        upper = came_from[way[-1]]
        way.append(upper)
        if back[upper] == -1:
            return way[::-1]
        way.append(back[upper])


def _by_chains(indices: list[int], weights: list[int], below: list[int]) -> int:
    """An upper bound: of each chain only one task can be in the set."""
    chains: list[tuple[int, int]] = []  # the last task of each chain, and its largest weight
    for index in sorted(indices, key=lambda each: below[each].bit_count()):
        for number, (last, largest) in enumerate(chains):
            if below[index] >> last & 1:
                chains[number] = (index, max(largest, weights[index]))
                break
        else:
            chains.append((index, weights[index]))
    return sum(largest for _, largest in chains)
