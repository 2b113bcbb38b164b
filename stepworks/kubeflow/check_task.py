"""What can be known to be wrong with a task before anything runs."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from kfp import dsl
from kfp.dsl.pipeline_channel import extract_pipeline_channels_from_any

from stepworks.errors import ConfigurationError
from stepworks.known import Later
from stepworks.reference import check as check_reference
from stepworks.reference import is_here


def check_task(task: dsl.PipelineTask, in_images: Collection[str]) -> None:
    """Have a step look at what its task is given, and see that the code which it names is there.

    Modules are looked for in the working folder and on Python's path.

    Args:
        task: The task.
        in_images: Packages that only the images hold, so that a reference into them cannot be followed here.

    Raises:
        ConfigurationError: Something cannot work; the message names the task.
    """
    check = getattr(task.component_spec, "check", None)
    if check is None:
        return
    try:
        for role, reference in check(_known(task)).items():
            if _package(reference) not in in_images:
                _check_reference(reference, role)
    except ConfigurationError as error:
        error.add_note(f"It is the task {task.name}; nothing was started.")
        raise


def _check_reference(reference: str, role: str) -> None:
    folders = [str(Path.cwd())]
    try:
        check_reference(reference, role=role, folders=folders)
    except ConfigurationError as error:
        package = _package(reference)
        if package and not is_here(package, folders):
            error.add_note(f"If only images hold {package}, say so: @pipeline(version=..., in_images=[{package!r}])")
        raise


def _package(reference: str) -> str:
    return reference.partition(":")[0].partition(".")[0]


def _known(task: dsl.PipelineTask) -> dict[str, Any]:
    """The parameters of a task that are known now, with their defaults, by name.

    One that is an output of another task, or a parameter of the pipeline, is not among them; for one that is within a
    mapping or a list a `Later` stands there.
    """
    inputs = task.component_spec.inputs or {}
    defaults = {name: each.default for name, each in inputs.items() if each.default is not None}
    given = {**defaults, **task.inputs}
    known = {name: _with_later(value) for name, value in given.items()}
    return {name: value for name, value in known.items() if not isinstance(value, Later)}


def _with_later(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_later(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_with_later(each) for each in value]
    channels = extract_pipeline_channels_from_any(value)
    if not channels:
        return value
    (channel, *others) = channels
    is_whole = not others and str(value) == str(channel)
    told = f"the output {channel.name} of {channel.task_name}" if channel.task_name else f"the parameter {channel.name}"
    return Later(told, str(channel.channel_type) if is_whole else "STRING")
