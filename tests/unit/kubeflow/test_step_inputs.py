"""Inputs of single steps, given for one run."""

from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf import json_format

from stepworks.errors import ParameterError
from stepworks.kubeflow.pipeline import Pipeline
from stepworks.kubeflow.step_inputs import give_inputs, of_steps

Make = Callable[[str], Pipeline]

TUNED = """
@component("cpu")
def tuned(path: str, run: str, rounds: int = 3, policy: dict = {}) -> str:
    \"\"\"Take settings.\"\"\"
    return path

@pipeline(version="1.0.0")
def tiny(text: str = "a"):
    \"\"\"Take settings twice.\"\"\"
    first = tuned(path="/mnt/a", run=text)
    tuned(path=first.output, run="x")
"""


def given(graph: Any, task: str) -> dict[str, Any]:
    """The inputs that a task of the root has a value for."""
    inputs = graph.pipeline_spec.root.dag.tasks[task].inputs.parameters
    return {
        name: json_format.MessageToDict(each.runtime_value.constant)
        for name, each in inputs.items()
        if each.HasField("runtime_value")
    }


def test_an_assignment_with_a_step_before_the_name_is_for_the_step() -> None:
    assert of_steps(["rate=0.5", "tuned.rounds=4", "note=a.b=c"]) == (["rate=0.5", "note=a.b=c"], ["tuned.rounds=4"])


def test_a_default_and_a_constant_are_replaced_and_nothing_else(make_pipeline: Make) -> None:
    graph = make_pipeline(TUNED).build(None).graph
    before = json_format.MessageToDict(graph.pipeline_spec)
    values = give_inputs(graph, ['tuned.policy={"stages": [10, 100]}', "tuned.path=/mnt/b", "tuned-2.rounds=5"])
    assert values == {"tuned.policy": {"stages": [10, 100]}, "tuned.path": "/mnt/b", "tuned-2.rounds": 5}
    assert given(graph, "tuned") == {"policy": {"stages": [10, 100]}, "path": "/mnt/b"}
    assert given(graph, "tuned-2") == {"rounds": 5, "run": "x"}
    after = json_format.MessageToDict(graph.pipeline_spec)
    for task in ("tuned", "tuned-2"):
        del before["root"]["dag"]["tasks"][task]["inputs"], after["root"]["dag"]["tasks"][task]["inputs"]
    assert after == before


@pytest.mark.parametrize(
    ("assignment", "told"),
    [
        ("turned.rounds=4", "no step turned"),
        ("tuned.round=4", "no parameter round"),
        ("tuned.rounds=four", "wrong type"),
        ("tuned.run=b", "given by the run itself"),
        ("tuned-2.path=/mnt/c", "given by the run itself"),
        ("tuned.rounds", "name=value"),
    ],
)
def test_what_is_no_input_of_a_step_is_refused(make_pipeline: Make, assignment: str, told: str) -> None:
    graph = make_pipeline(TUNED).build(None).graph
    before = graph.pipeline_spec.SerializeToString(deterministic=True)
    with pytest.raises(ParameterError, match=told):
        give_inputs(graph, [assignment])
    assert graph.pipeline_spec.SerializeToString(deterministic=True) == before
