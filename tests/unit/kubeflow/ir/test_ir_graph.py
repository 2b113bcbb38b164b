import itertools
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepworks.kubeflow.ir import peak as peak_module
from stepworks.kubeflow.ir.graph import Concurrency, order, upstream
from stepworks.kubeflow.ir.model import Ir
from stepworks.kubeflow.ir.peak import peak_accelerators
from stepworks.kubeflow.ir.read import read_ir
from stepworks.kubeflow.ir.source import ComponentInput, TaskOutput
from stepworks.kubeflow.ir.values import Origin, Values
from tests.unit.kubeflow.ir.compiled_shapes import COMPILED, compiled_text
from tests.unit.kubeflow.ir.small_ir import accelerated, loop, pipeline, read

Small = Callable[..., Ir]


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return lambda tasks, **dags: read(pipeline(tasks, **dags), tmp_path)


@pytest.fixture
def shape(tmp_path: Path) -> Callable[[str], Ir]:
    def read_shape(name: str) -> Ir:
        path = tmp_path / "shape.yaml"
        path.write_text(compiled_text(name))
        return read_ir(path)

    return read_shape


def test_upstream_is_everything_that_ends_before(small: Small) -> None:
    dag = small({"a": {}, "b": {"after": ["a"]}, "c": {"after": ["b", "gone"]}, "d": {}}).dags["root"]
    assert upstream(dag) == {"a": set(), "b": {"a"}, "c": {"a", "b"}, "d": set()}
    assert upstream(dag, lambda task: task.name == "a") == {"a": set(), "b": {"a"}, "c": {"a"}, "d": set()}


def test_tasks_on_a_cycle_are_told(small: Small) -> None:
    dag = small({"a": {"after": ["c"]}, "b": {"after": ["a"]}, "c": {"after": ["b"]}, "d": {}}).dags["root"]
    assert order(dag) == (["d"], ["a", "b", "c"])
    assert upstream(dag)["b"] == set()


def pairs_at_once(ir: Ir) -> set[str]:
    concurrency = Concurrency(ir)
    both = itertools.combinations_with_replacement(ir.tasks, 2)
    return {
        f"{one.path} {other.path}"
        for one, other in both
        if concurrency.first_pair({one.path: one, other.path: other}.values())
    }


def test_tasks_of_dags_that_wait_for_each_other_do_not_run_at_once(small: Small) -> None:
    inner = {"x": {}, "y": {"after": ["x"]}}
    ir = small({"p": {"on": "one"}, "q": {"on": "two", "after": ["p"]}, "r": {"after": ["q"]}}, one=inner, two=inner)
    assert pairs_at_once(ir) == set()
    ir = small({"p": {"on": "one"}, "q": {"on": "two"}}, one=inner, two=inner)
    assert "p/x q/y" in pairs_at_once(ir)
    assert "p/x p/y" not in pairs_at_once(ir)


def test_iterations_run_at_once_unless_the_loop_takes_them_in_turn(small: Small) -> None:
    inner = {"x": {}, "y": {"after": ["x"]}}
    for fields, at_once in (
        (loop([1, 2]), True),
        (loop(), True),
        (loop([1, 2], limit=1), False),
        (loop([1]), False),
        (loop(limit=1), False),
    ):
        pairs = pairs_at_once(small({"l": {"on": "body", **fields}}, body=inner))
        assert ("l/x l/y" in pairs) is ("l/x l/x" in pairs) is at_once


def test_branches_exclude_each_other(shape: Callable[[str], Ir]) -> None:
    pairs = pairs_at_once(shape("branches"))
    use = "condition-branches-1/condition-{}/use{}"
    assert f"{use.format(2, '')} {use.format(3, '-2')}" not in pairs
    assert f"{use.format(2, '')} {use.format(4, '-3')}" not in pairs
    assert pairs == set()


@pytest.mark.parametrize(
    ("tasks", "expected"),
    [
        ({"a": {"on": 2}, "b": {"on": 3}}, 5),
        ({"a": {"on": 2}, "b": {"on": 3, "after": ["a"]}}, 3),
        ({"a": {"on": 2}, "m": {"after": ["a"]}, "b": {"on": 3, "after": ["m"]}}, 3),
        ({"a": {"on": 1}, "b": {"on": 2, "after": ["a"]}, "c": {"on": 2, "after": ["a"]}}, 4),
        ({"a": {"on": 1}, "b": {"on": 1}, "c": {"on": 1, "after": ["a", "b"]}, "d": {"on": 1, "after": ["b"]}}, 2),
        ({"a": {"on": 5}, "b": {"on": 1}, "c": {"on": 1, "after": ["a", "b"]}, "d": {"on": 4, "after": ["b"]}}, 9),
        ({"a": {}}, 0),
    ],
)
def test_the_peak_of_a_dag(tasks: dict[str, Any], expected: int, small: Small) -> None:
    assert peak_accelerators(small(tasks)).count == expected


def test_loops_multiply_the_peak_by_what_runs_at_once(small: Small) -> None:
    inner = {"x": {"on": 2}, "y": {"on": 1, "after": ["x"]}}
    for fields, expected in ((loop([1, 2, 3]), 6), (loop([1, 2, 3], limit=2), 4), (loop(limit=4), 8), (loop([]), 0)):
        peak = peak_accelerators(small({"l": {"on": "body", **fields}}, body=inner))
        assert (peak.count, peak.unbounded) == (expected, ())
    peak = peak_accelerators(small({"l": {"on": "body", **loop()}, "z": {"on": 7, "after": ["l"]}}, body=inner))
    assert (peak.count, peak.unbounded) == (7, ("l",))
    assert peak_accelerators(small({"l": {"on": "body", **loop()}}, body={"x": {}})).unbounded == ()


def test_a_shared_dag_counts_at_each_use(small: Small) -> None:
    ir = small({"p": {"on": "one"}, "q": {"on": "one"}}, one={"x": {"on": "two"}}, two={"y": {"on": 3}})
    assert peak_accelerators(ir).count == 6


def test_only_one_branch_of_an_if_counts(shape: Callable[[str], Ir]) -> None:
    peak = peak_accelerators(shape("branches"))
    assert (peak.count, peak.by_type) == (1, {"nvidia.com/gpu": 1})
    assert peak_accelerators(shape("loops")).count == 2


def test_a_count_from_a_parameter_is_that_of_its_default_or_unknown(tmp_path: Path) -> None:
    def with_count(text: str) -> Ir:
        documents = pipeline({"a": {"on": 1, "inputs": {"parameters": {"n": {"componentInputParameter": "n"}}}}})
        documents[0]["root"]["inputDefinitions"] = {
            "parameters": {"n": {"defaultValue": "4", "parameterType": "STRING"}}
        }
        executors = documents[0]["deploymentSpec"]["executors"]
        executors["exec-gpu-1"]["container"]["resources"]["accelerator"]["resourceCount"] = text
        return read(documents, tmp_path)

    ir = with_count("{{$.inputs.parameters['n']}}")
    assert peak_accelerators(ir).count == 4
    assert Values(ir).setting(ir.tasks[0], "{{$.inputs.parameters['m']}}") == ""
    peak = peak_accelerators(with_count("{{$.inputs.parameters['m']}}"))
    assert (peak.count, peak.unknown) == (1, ("a",))
    assert peak_accelerators(with_count("{{$.inputs.parameters['n']}}x")).unknown == ("a",)


def test_the_value_of_an_inner_task_is_followed_to_the_root(shape: Callable[[str], Ir]) -> None:
    ir = shape("nested")
    tasks = {task.path: task for task in ir.tasks}
    values = Values(ir)
    assert values.of_input(tasks["inner/make"], "text") == "x"
    assert values.of_input(tasks["inner-2/use"], "factor") == 4.0
    assert values.of_input(tasks["inner/use"], "factor") == 3.0
    assert values.of_input(tasks["inner-2/make"], "text") is None


def test_a_source_is_followed_to_where_its_value_comes_from(shape: Callable[[str], Ir]) -> None:
    ir = shape("nested")
    tasks, values = {task.path: task for task in ir.tasks}, Values(ir)

    def origin(path: str, name: str) -> Origin:
        (found,) = (each for each in tasks[path].inputs if each.name == name)
        return values.origin(tasks[path], found.source)

    assert origin("inner/make", "text") == Origin("", ComponentInput("text"), "", None)
    assert origin("inner-2/make", "text") == Origin("", TaskOutput("inner", "Output"), "", None)
    assert origin("inner/use", "factor") == Origin("inner", ComponentInput("factor"), "", None)
    ir = shape("loops")
    tasks, values = {task.path: task for task in ir.tasks}, Values(ir)
    made = [task for task in ir.tasks if task.name.startswith("make")]
    assert [values.origin(task, task.inputs[0].source).loop for task in made] == [tasks[task.parent] for task in made]


def test_within_one_run_of_a_task_its_iterations_do_not_count(small: Small) -> None:
    ir = small({"l": {"on": "body", **loop()}}, body={"x": {}, "y": {"on": "inner", **loop()}}, inner={"z": {}})
    tasks, concurrency = {task.path: task for task in ir.tasks}, Concurrency(ir)
    x, z = tasks["l/x"], tasks["l/y/z"]
    assert concurrency.first_pair([x]) == (x, x)
    assert concurrency.first_pair([x], within="l") is None
    assert concurrency.first_pair([z], within="l") == (z, z)
    assert concurrency.first_pair([z], within="l/y") is None


def closed(edges: set[tuple[int, int]], size: int) -> set[tuple[int, int]]:
    """The transitive closure of the edges."""
    reach = set(edges)
    for middle, a, b in itertools.product(range(size), repeat=3):
        if (a, middle) in reach and (middle, b) in reach:
            reach.add((a, b))
    return reach


def brute_force(weights: list[int], edges: set[tuple[int, int]]) -> int:
    reach = closed(edges, len(weights))
    best = 0
    for members in itertools.chain.from_iterable(
        itertools.combinations(range(len(weights)), size) for size in range(len(weights) + 1)
    ):
        if not any(pair in reach for pair in itertools.combinations(members, 2)):
            best = max(best, sum(weights[each] for each in members))
    return best


GRAPHS = st.integers(1, 8).flatmap(
    lambda size: st.tuples(
        st.lists(st.integers(0, 5), min_size=size, max_size=size),
        st.sets(st.sampled_from([(a, b) for a in range(size) for b in range(a + 1, size)] or [(0, 0)])),
    )
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(GRAPHS)
def test_the_peak_is_exact_and_the_bound_for_large_dags_never_too_low(
    tmp_path: Path, graph: tuple[list[int], set[tuple[int, int]]]
) -> None:
    weights, edges = graph
    edges = {(a, b) for a, b in edges if a != b}
    tasks = {
        f"t{number}": {"on": weight or "plain", "after": [f"t{a}" for a, b in edges if b == number]}
        for number, weight in enumerate(weights)
    }
    ir = read(pipeline(tasks), tmp_path)
    exact = brute_force(weights, edges)
    assert peak_accelerators(ir).count == exact
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(peak_module, "DEEPEST_SPLIT", 0)
        assert peak_accelerators(ir).count == exact
        patch.setattr(peak_module, "LARGEST_FLOW", 0)
        assert exact <= peak_accelerators(ir).count <= sum(weights)


@pytest.mark.parametrize("path", COMPILED, ids=lambda path: path.stem)
def test_our_own_pipelines_need_few_accelerators(path: Path) -> None:
    peak = peak_accelerators(read_ir(path))
    assert peak.unbounded == peak.unknown == ()
    assert peak.count <= 4


def test_many_types_are_counted_together(tmp_path: Path) -> None:
    documents = pipeline({f"t{n:02}": {} for n in range(30)})
    (document,) = documents
    for name, task in document["root"]["dag"]["tasks"].items():
        task["componentRef"]["name"] = f"comp-{name}"
        document["components"][f"comp-{name}"] = {"executorLabel": f"exec-{name}"}
        document["deploymentSpec"]["executors"][f"exec-{name}"] = accelerated("2", f"example.com/{name}")
    peak = peak_accelerators(read(documents, tmp_path))
    assert peak.count == 60
    assert peak.by_type == {f"example.com/t{n:02}": 2 for n in range(20)} | {"other types": 20}


def test_a_long_chain_and_a_wide_dag_of_accelerators_are_read_quickly(small: Small) -> None:
    chain: dict[str, Any] = {f"t{n}": {"on": 1, "after": [f"t{n - 1}"] if n else []} for n in range(2000)}
    assert peak_accelerators(small(chain)).count == 1
    assert peak_accelerators(small({f"t{n}": {"on": 1} for n in range(2000)})).count == 2000


def test_the_flow_is_exact_also_where_it_has_to_be_turned_back() -> None:
    choose = random.Random(5)
    for _ in range(300):
        size = choose.randrange(2, 8)
        weights = [choose.randrange(5) for _ in range(size)]
        edges = {pair for pair in itertools.combinations(range(size), 2) if choose.random() < 0.35}
        below = [sum(1 << a for a, b in closed(edges, size) if b == number) for number in range(size)]
        assert peak_module._by_flow(list(range(size)), weights, below) == brute_force(weights, edges)
