"""Damage that a hand or a compiler may do to valid IR: each kind is found, wherever it is done."""

import copy
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepworks.errors import ConfigurationError
from stepworks.kubeflow.ir.read import read_ir
from stepworks.kubeflow.lint.check import Report, lint_ir
from stepworks.kubeflow.lint.finding import Severity
from stepworks.kubeflow.lint.machine import json_text, sarif_text
from stepworks.kubeflow.lint.rule import Limits
from stepworks.kubeflow.lint.text import plain_text
from tests.unit.kubeflow.ir.compiled_shapes import COMPILED, SHAPES, compiled_text

Document = dict[str, Any]
Damage = Callable[[Document, random.Random], bool]
SOURCES: dict[str, Path | None] = {
    **dict.fromkeys(SHAPES),
    **{path.parent.parent.name: path for path in COMPILED},  # of a pipeline one: targets do not change the graph
}


def documents(name: str) -> list[Document]:
    path = SOURCES[name]
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8") if path else compiled_text(name)))


def dags(document: Document) -> Iterator[Document]:
    yield document["root"]["dag"]
    for component in document["components"].values():
        if "dag" in component:
            yield component["dag"]


def tasks(document: Document, wanted: Callable[[Document], bool] = lambda _: True) -> list[Document]:
    return [task for dag in dags(document) for task in dag["tasks"].values() if wanted(task)]


def component_removed(document: Document, choose: random.Random) -> bool:
    document["components"].pop(choose.choice(tasks(document))["componentRef"]["name"], None)
    return True


def executor_removed(document: Document, choose: random.Random) -> bool:
    document["deploymentSpec"]["executors"].pop(choose.choice(sorted(document["deploymentSpec"]["executors"])))
    return True


def task_renamed(document: Document, choose: random.Random) -> bool:
    """Rename a task that another one waits for."""
    found = [
        (dag, name)
        for dag in dags(document)
        for task in dag["tasks"].values()
        for name in task.get("dependentTasks", [])
    ]
    if found:
        dag, name = choose.choice(found)
        dag["tasks"]["renamed"] = dag["tasks"].pop(name)
    return bool(found)


def input_dropped(document: Document, choose: random.Random) -> bool:
    """Drop an input that its component requires."""
    found = []
    for task in tasks(document):
        component = document["components"][task["componentRef"]["name"]]
        for kind in ("parameters", "artifacts"):
            for name in task.get("inputs", {}).get(kind, {}):
                definition = component.get("inputDefinitions", {}).get(kind, {}).get(name, {"isOptional": True})
                if not definition.get("isOptional") and "defaultValue" not in definition:
                    found.append((task["inputs"][kind], name))
    if found:
        inputs, name = choose.choice(found)
        inputs.pop(name)
    return bool(found)


def output_key_changed(document: Document, choose: random.Random) -> bool:
    found = [
        source
        for task in tasks(document)
        for kind in ("parameters", "artifacts")
        for each in task.get("inputs", {}).get(kind, {}).values()
        for source in each.values()
        if isinstance(source, dict) and "producerTask" in source and len(source) == 2
    ]
    if found:
        source = choose.choice(found)
        key = next(key for key in source if key != "producerTask")
        source[key] = "changed"
    return bool(found)


def dependencies_dropped(document: Document, choose: random.Random) -> bool:
    """Drop the dependencies of a task that takes something from another, the final state of one included."""
    found = tasks(document, lambda task: "dependentTasks" in task and "producerTask" in str(task.get("inputs")))
    if found:
        choose.choice(found).pop("dependentTasks")
    return bool(found)


def constant_retyped(document: Document, choose: random.Random) -> bool:
    found = [
        each["runtimeValue"]
        for task in tasks(document)
        for each in task.get("inputs", {}).get("parameters", {}).values()
        if "{{" not in str(each.get("runtimeValue", {}).get("constant", "{{"))
    ]
    if found:
        value = choose.choice(found)
        value["constant"] = {"a": 1} if not isinstance(value["constant"], dict) else 7.5
    return bool(found)


def cycle_made(document: Document, choose: random.Random) -> bool:
    dag = choose.choice(list(dags(document)))
    first, second = choose.choice(list(dag["tasks"])), choose.choice(list(dag["tasks"]))
    dag["tasks"][first].setdefault("dependentTasks", []).append(second)
    dag["tasks"][second].setdefault("dependentTasks", []).append(first)
    return True


def name_broken(document: Document, choose: random.Random) -> bool:
    document["pipelineInfo"]["name"] = choose.choice(["", "My Pipeline", "-a", "a_b", "x" * 200])
    return True


DAMAGES: dict[str, Damage] = {
    each.__name__: each
    for each in (
        component_removed, executor_removed, task_renamed, input_dropped, output_key_changed, dependencies_dropped,
        constant_retyped, cycle_made, name_broken,
    )
}  # fmt: skip


def errors(content: list[Document], folder: Path) -> set[str]:
    path = folder / "ir.yaml"
    path.write_text(yaml.dump_all(content, Dumper=yaml.CSafeDumper), encoding="utf-8")
    return {finding.rule for finding in lint_ir(read_ir(path)) if finding.severity is Severity.ERROR}


@pytest.mark.parametrize("name", SOURCES)
def test_every_damage_is_found_and_nothing_without(name: str, tmp_path: Path) -> None:
    whole = documents(name)
    before = errors(whole, tmp_path)
    assert not {id_ for id_ in before if id_[0] in "SP"}
    for kind, damage in DAMAGES.items():
        for seed in range(6):
            content = copy.deepcopy(whole)
            if damage(content[0], random.Random(seed)):
                assert errors(content, tmp_path) - before, f"{kind} with the seed {seed} is not found in {name}"


def test_every_kind_of_damage_can_be_done_somewhere() -> None:
    for kind, damage in DAMAGES.items():
        assert any(damage(documents(name)[0], random.Random(0)) for name in SHAPES), kind


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["{{$}}", "-1", "a/b"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(SHAPES)), st.lists(st.tuples(st.integers(0, 10**6), VALUES), min_size=1, max_size=4))
def test_whatever_is_put_into_ir_is_read_and_linted_or_refused(
    tmp_path: Path, name: str, changes: list[tuple[int, Any]]
) -> None:
    content = documents(name)
    for seed, value in changes:
        put_somewhere(content, value, random.Random(seed))
    path = tmp_path / "ir.yaml"
    path.write_bytes(yaml.safe_dump_all(content).encode(errors="surrogatepass"))
    try:
        ir = read_ir(path)
    except ConfigurationError:
        return
    findings = lint_ir(ir, Limits(max_gpus=0))
    assert all(finding.line >= 1 and finding.column >= 1 for finding in findings)
    report = Report((), tuple(findings))
    assert all(line.isprintable() for line in plain_text(report).splitlines())
    assert json_text(report)
    assert sarif_text(report)


def put_somewhere(content: Any, value: Any, choose: random.Random) -> None:
    places = []
    stack = [content]
    while stack:
        inner = stack.pop()
        for key in list(inner) if isinstance(inner, dict) else range(len(inner)):
            places.append((inner, key))
            if isinstance(inner[key], dict | list):
                stack.append(inner[key])
    container, key = choose.choice(places)
    container[key] = value
