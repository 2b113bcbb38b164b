"""An input of one step, given for one run: `-p roll-out-canary.policy={…}`.

For what a pipeline leaves to a step's default, or writes down itself, and what a run for trial is to have otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from stepworks.errors import ParameterError
from stepworks.kubeflow.arguments import KINDS, parse_value


def of_steps(assignments: Iterable[str]) -> tuple[list[str], list[str]]:
    """Part `name=value` texts into those of the pipeline's parameters and those of steps' inputs."""
    texts = list(assignments)
    steps = [text for text in texts if "." in text.partition("=")[0]]
    return [text for text in texts if text not in steps], steps


def give_inputs(graph: Any, assignments: Iterable[str]) -> dict[str, Any]:
    """Give steps of a traced pipeline the inputs that `step.input=value` texts say.

    Args:
        graph: The pipeline as kfp traced it; its specification is changed.
        assignments: The texts. Values are read by the type of the input, as those of parameters are.

    Returns:
        The values by `step.input`.

    Raises:
        ParameterError: There is no such step or input, a value has another type, or the input is what another step or
            a parameter of the pipeline gives.
    """
    specification = graph.pipeline_spec
    given: dict[str, Any] = {}
    for assignment in assignments:
        name, separator, text = assignment.partition("=")
        if not separator:
            raise ParameterError(
                "A parameter is not of the form name=value", received=assignment, what_to_do="Write -p name=value."
            )
        step, _, key = name.rpartition(".")
        task = _find_task(specification, step, assignment)
        declared = specification.components[task.component_ref.name].input_definitions.parameters
        if key not in declared:
            raise ParameterError(
                f"The step {step} has no parameter {key}",
                received=assignment,
                expected=f"one of {', '.join(sorted(declared)) or 'none'}",
                what_to_do="Correct the name.",
            )
        _refuse_what_others_give(task, step, key, assignment)
        kind = pipeline_spec_pb2.ParameterType.ParameterTypeEnum.Name(declared[key].parameter_type)
        given[name] = parse_value(name, text, KINDS.get(kind, str))
        json_format.ParseDict(given[name], task.inputs.parameters[key].runtime_value.constant)
    return given


def _find_task(specification: Any, step: str, assignment: str) -> Any:
    found = [task for dag in _dags(specification) for name, task in dag.tasks.items() if name == step]
    if len(found) != 1:
        names = sorted({name for dag in _dags(specification) for name in dag.tasks})
        raise ParameterError(
            f"The pipeline has {len(found) or 'no'} steps {step}" if found else f"The pipeline has no step {step}",
            received=assignment,
            expected=f"one of {', '.join(names)}",
            what_to_do="Correct the name: -p STEP.INPUT=VALUE gives an input of one step.",
        )
    return found[0]


def _dags(specification: Any) -> Iterator[Any]:
    yield specification.root.dag
    yield from (each.dag for each in specification.components.values() if each.HasField("dag"))


def _refuse_what_others_give(task: Any, step: str, key: str, assignment: str) -> None:
    if key not in task.inputs.parameters:
        return
    source = task.inputs.parameters[key]
    if source.WhichOneof("kind") != "runtime_value" or "{{$" in str(source):
        raise ParameterError(
            f"The input {key} of the step {step} is given by the run itself",
            received=assignment,
            expected="an input that the pipeline leaves to its default, or writes down",
            what_to_do="Give the parameter of the pipeline instead, if it comes from one.",
        )
