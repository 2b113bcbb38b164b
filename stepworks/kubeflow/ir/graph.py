"""What the edges of a pipeline mean in time: what ends before a task starts, and what may run at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from stepworks.kubeflow.ir.model import Dag, Ir, Task

MOST_BRANCHES = 60
"""Branches of one If up to which it is known that only one of them runs."""


def order(dag: Dag) -> tuple[list[str], list[str]]:
    """The tasks of a dag, each after those that it depends on, and those that are on or behind a cycle.

    A dependency on something that is no task of the dag is left out.
    """
    waits = {name: {each for each in task.dependencies if each in dag.tasks} for name, task in dag.tasks.items()}
    followers: dict[str, list[str]] = {name: [] for name in dag.tasks}
    for name, dependencies in waits.items():
        for each in dependencies:
            followers[each].append(name)
    left = {name: len(dependencies) for name, dependencies in waits.items()}
    ordered = [name for name, number in left.items() if not number]
    for name in ordered:  # grows while it is read
        for follower in followers[name]:
            left[follower] -= 1
            if not left[follower]:
                ordered.append(follower)
    return ordered, [name for name, number in left.items() if number]


def upstream(dag: Dag, of_interest: Callable[[Task], bool] = lambda _: True) -> dict[str, set[str]]:
    """For each task of a dag the tasks that end before it starts, as far as they are of interest.

    Tasks on a cycle have nothing upstream; the graph is wrong, and a rule says so.
    """
    names = [name for name, task in dag.tasks.items() if of_interest(task)]
    masks = upstream_masks(dag, names)
    return {name: {names[bit] for bit in _bits(mask)} for name, mask in masks.items()}


def upstream_masks(dag: Dag, names: Iterable[str]) -> dict[str, int]:
    """For each task of a dag the ones of `names` upstream of it, as a number with one bit for each name."""
    return _closure(dag, order(dag)[0], {name: task.dependencies for name, task in dag.tasks.items()}, names)


def downstream_masks(dag: Dag, names: Iterable[str]) -> dict[str, int]:
    """For each task of a dag the ones of `names` downstream of it, as `upstream_masks` has those upstream."""
    followers: dict[str, list[str]] = {name: [] for name in dag.tasks}
    for name, task in dag.tasks.items():
        for dependency in task.dependencies:
            followers.get(dependency, []).append(name)
    return _closure(dag, order(dag)[0][::-1], followers, names)


def _closure(
    dag: Dag, ordered: Iterable[str], neighbours: Mapping[str, Sequence[str]], names: Iterable[str]
) -> dict[str, int]:
    bits = {name: 1 << index for index, name in enumerate(names)}
    masks = dict.fromkeys(dag.tasks, 0)
    for name in ordered:
        mask = 0
        for neighbour in neighbours[name]:
            mask |= masks.get(neighbour, 0) | bits.get(neighbour, 0)
        masks[name] = mask
    return masks


def _bits(mask: int) -> Iterator[int]:
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest


def runs_beside_itself(task: Task) -> bool:
    """Whether iterations of a loop may run at once."""
    iterator = task.iterator
    if iterator is None or iterator.parallelism_limit == 1:
        return False
    return iterator.count is None or iterator.count > 1


def exclude_each_other(first: Task, second: Task) -> bool:
    """Whether two tasks of a dag are branches of one If, of which only one runs.

    kfp gives a later branch the conditions of the earlier ones, each as `!(…)`, and joins them by ` && `.
    """
    terms = [set(task.condition.split(" && ")) for task in (first, second)]
    return any(f"!({term})" in terms[1 - side] for side in (0, 1) for term in terms[side] if term)


class Concurrency:
    """Answers which tasks may run at once, whichever dags they are in."""

    def __init__(self, ir: Ir) -> None:
        self._dags: Mapping[str, Dag] = ir.dags
        self._tasks = {task.path: task for task in ir.tasks}
        self._related: dict[str, tuple[dict[str, int], dict[str, int]]] = {}

    def first_pair(self, tasks: Iterable[Task], within: str = "") -> tuple[Task, Task] | None:
        """Two of some tasks that may run at the same time; a task twice when iterations of a loop may.

        The time is linear in the tasks, since pairs are not looked at one by one.

        Args:
            tasks: The tasks.
            within: The path of a task that holds them all: asks about one run of it, so that iterations of it, or of
                loops around it, do not count. Empty for the whole pipeline.

        Returns:
            The two; None when all take turns.
        """
        below: dict[str, dict[str, Task]] = {}  # for each dag, by path, the tasks that lead to one of `tasks`
        for task in tasks:
            for way in self._way(task, within):
                if runs_beside_itself(way):
                    return task, task
                below.setdefault(way.parent, {}).setdefault(way.name, task)
        for above, leading in below.items():
            pair = self._first_pair_of_dag(above, leading)
            if pair:
                return pair
        return None

    def _first_pair_of_dag(self, above: str, leading: Mapping[str, Task]) -> tuple[Task, Task] | None:
        siblings = {name: self._tasks[f"{above}/{name}" if above else name] for name in leading}
        bits, related = self._relations(next(iter(siblings.values())).dag)
        members = sum(bits[name] for name in siblings)
        by_bit = {bits[name].bit_length() - 1: name for name in siblings}
        for name, task in siblings.items():
            for number, bit in enumerate(_bits(members & ~(related[name] | bits[name]))):
                if number == MOST_BRANCHES or not exclude_each_other(task, siblings[by_bit[bit]]):
                    return leading[name], leading[by_bit[bit]]
        return None

    def _way(self, task: Task, within: str) -> list[Task]:
        """The tasks that lead to a task from within another one, and itself."""
        parts = task.path.split("/")
        shortest = within.count("/") + 2 if within else 1
        paths = ("/".join(parts[:length]) for length in range(shortest, len(parts) + 1))
        return [self._tasks[path] for path in paths if path in self._tasks]

    def _relations(self, component: str) -> tuple[dict[str, int], dict[str, int]]:
        """A bit for each task of a dag, and for each task the bits of those that are up- or downstream of it."""
        if component not in self._related:
            dag = self._dags[component]
            up, down = upstream_masks(dag, dag.tasks), downstream_masks(dag, dag.tasks)
            bits = {name: 1 << index for index, name in enumerate(dag.tasks)}
            self._related[component] = bits, {name: up[name] | down[name] for name in dag.tasks}
        return self._related[component]
