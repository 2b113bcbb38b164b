"""Settings that compile and that Kubeflow then drops in silence, or mistakes for others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kfp.pipeline_spec import pipeline_spec_pb2

from stepworks.errors import ConfigurationError
from stepworks.kubeflow.ir.placeholders import INPUT

_TYPES = pipeline_spec_pb2.ParameterType.ParameterTypeEnum
_STRING = _TYPES.Value("STRING")


def refuse_dropped_settings(pipeline_spec: Any) -> None:
    """Refuse images and resources that a parameter does not reach as it was meant.

    KFP's driver takes the whole of an image or a quantity from one parameter of the type str. Of a parameter in
    the midst of a text it takes the parameter alone: `registry/image:{tag}` becomes `v1`. Of an int it takes
    nothing: the pod starts without its accelerator, and nobody is told. And kfp's compiler does not pass a
    parameter of the pipeline into a condition, a loop or an exit handler for the sake of such a setting.

    Args:
        pipeline_spec: The traced pipeline's specification.

    Raises:
        ConfigurationError: A task has such a setting.
    """
    executors = pipeline_spec.deployment_spec["executors"]
    graphs = [pipeline_spec.root, *(each for each in pipeline_spec.components.values() if each.HasField("dag"))]
    for graph in graphs:
        for name, task in sorted(graph.dag.tasks.items()):
            label = pipeline_spec.components[task.component_ref.name].executor_label
            for setting, text in _settings(executors[label]) if label else ():
                _check(pipeline_spec, graph, name, setting, text)


def _settings(executor: Any) -> Iterator[tuple[str, str]]:
    """The image and the resources of an executor that hold a parameter."""
    if "container" not in executor:
        return
    container = executor["container"]
    found = {"the image": container["image"]}
    if "resources" in container:
        resources = container["resources"]
        found |= dict(resources.items())
        if "accelerator" in resources:
            found |= {f"accelerator.{name}": value for name, value in resources["accelerator"].items()}
    yield from ((name, value) for name, value in found.items() if isinstance(value, str) and "{{" in value)


def _check(pipeline_spec: Any, graph: Any, task: str, setting: str, text: str) -> None:
    for match in INPUT.finditer(text):
        name = match["name"].removeprefix("pipelinechannel--")
        if match.group() != text:
            raise ConfigurationError(
                f"Kubeflow would take for {setting} of the task {task} the parameter {name} alone",
                received=text,
                expected="a text without parameters, or one parameter that is the whole of it",
                what_to_do=f"Give the whole of {setting} as one parameter, or write it into the target's file.",
            )
        kind = _type_of(pipeline_spec, graph, graph.dag.tasks[task].inputs.parameters[match["name"]])
        if kind is None:
            raise ConfigurationError(
                f"The parameter {name} does not reach {setting} of the task {task}",
                received="a task in a condition, a loop or an exit handler, which kfp does not pass the parameter to",
                expected="a task in the pipeline's own graph",
                what_to_do="Write the value into the target's file, or move the task.",
            )
        if kind != _STRING:
            raise ConfigurationError(
                f"Kubeflow would drop {setting} of the task {task}",
                received=f"the parameter {name} of the type {_TYPES.Name(kind)}",
                expected="a parameter of the type str: of any other, Kubeflow's driver takes an empty text",
                what_to_do=f"Declare {name} as str, or write the value into the target's file.",
            )


def _type_of(pipeline_spec: Any, graph: Any, source: Any) -> int | None:
    """The type of what fills a task's input; missing if the graph does not have it."""
    if source.HasField("task_output_parameter"):
        output = source.task_output_parameter
        producer = pipeline_spec.components[graph.dag.tasks[output.producer_task].component_ref.name]
        definitions, name = producer.output_definitions.parameters, output.output_parameter_key
    else:
        definitions, name = graph.input_definitions.parameters, source.component_input_parameter
    return int(definitions[name].parameter_type) if name in definitions else None
