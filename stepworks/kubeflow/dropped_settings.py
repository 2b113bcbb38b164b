"""Settings that compile and that Kubeflow then drops in silence, or mistakes for others."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from kfp.pipeline_spec import pipeline_spec_pb2

from stepworks.errors import ConfigurationError

_INPUT = re.compile(r"\{\{\$\.inputs\.parameters\['(?P<name>[^']+)'\]\}\}")
_STRING = pipeline_spec_pb2.ParameterType.STRING


def refuse_dropped_settings(pipeline_spec: Any) -> None:
    """Refuse images and resources that a parameter does not reach as it was meant.

    KFP's driver takes the whole of an image or a quantity from one parameter of the type str. Of a parameter in
    the midst of a text it takes the parameter alone: `registry/image:{tag}` becomes `v1`. Of an int it takes
    nothing: the pod starts without its accelerator, and nobody is told.

    Args:
        pipeline_spec: The traced pipeline's specification.

    Raises:
        ConfigurationError: A task has such a setting.
    """
    parameters = {
        component.executor_label: component.input_definitions.parameters
        for component in pipeline_spec.components.values()
        if component.executor_label
    }
    for label, executor in pipeline_spec.deployment_spec["executors"].items():
        for setting, text in _settings(executor):
            for match in _INPUT.finditer(text):
                _check(label.removeprefix("exec-"), setting, text, match, parameters.get(label, {}))


def _settings(executor: Any) -> Iterator[tuple[str, str]]:
    """The image and the resources of an executor, as far as a parameter is in them."""
    if "container" not in executor:
        return
    container = executor["container"]
    found = {"the image": container["image"]}
    if "resources" in container:
        resources = container["resources"]
        found |= {name: value for name, value in resources.items() if isinstance(value, str)}
        if "accelerator" in resources:
            found |= {f"accelerator.{name}": value for name, value in resources["accelerator"].items()}
    yield from ((name, value) for name, value in found.items() if isinstance(value, str) and "{{" in value)


def _check(task: str, setting: str, text: str, match: re.Match[str], parameters: Mapping[str, Any]) -> None:
    name = match["name"].removeprefix("pipelinechannel--")
    if match.group() != text:
        raise ConfigurationError(
            f"Kubeflow would take for {setting} of the task {task} the parameter {name} alone",
            received=text,
            expected="a text without parameters, or one parameter that is the whole of it",
            what_to_do=f"Give the whole of {setting} as one parameter, or write it into the target's file.",
        )
    definition = parameters.get(match["name"])
    if definition is not None and definition.parameter_type != _STRING:
        kind = pipeline_spec_pb2.ParameterType.ParameterTypeEnum.Name(definition.parameter_type)
        raise ConfigurationError(
            f"Kubeflow would drop {setting} of the task {task}",
            received=f"the parameter {name} of the type {kind}",
            expected="a parameter of the type str: of any other, Kubeflow's driver takes an empty text",
            what_to_do=f"Declare {name} as str, or write the value into the target's file.",
        )
