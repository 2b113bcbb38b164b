"""Comparing two compiled pipelines by their meaning: not the bytes, but what would run, where and with what."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from stepworks.kubeflow.diff.change import Change, Difference, gather
from stepworks.kubeflow.diff.facts import Facts, digest, facts_of, source_text, value_text
from stepworks.kubeflow.ir.model import ROOT, InputDefinition, Ir
from stepworks.kubeflow.ir.source import TaskOutput


def compare(before: Ir, after: Ir) -> Difference:
    """Compare two compiled pipelines.

    Args:
        before: The earlier one.
        after: The later one.
    """
    changes = [*_pipeline(before, after), *_parameters(before, after), *_outputs(before, after), *_tasks(before, after)]
    return gather(changes or [*_anything_else(before, after)])


def _anything_else(before: Ir, after: Ir) -> Iterator[Change]:
    """What no other comparison sees, so that a difference is never told as none."""
    old, new = (digest(_without_order(each.raw)) for each in (before, after))
    if old != new:
        yield Change("pipeline", "something that has no words here; see the files", old, new, "patch")


def _without_order(value: Any) -> Any:
    """Content in which the order of tolerations, which means nothing, is always the same."""
    if isinstance(value, dict):
        return {
            key: sorted(map(_without_order, each), key=json.dumps) if key == "tolerations" else _without_order(each)
            for key, each in value.items()
        }
    return [_without_order(each) for each in value] if isinstance(value, list) else value


def _pipeline(before: Ir, after: Ir) -> Iterator[Change]:
    if before.name != after.name:
        yield Change("pipeline", "name", before.name, after.name, "major")
    if before.backend != after.backend:
        yield Change("pipeline", "backend", before.backend, after.backend, "major")
    if before.sdk_version != after.sdk_version:
        yield Change("pipeline", "compiler", before.sdk_version, after.sdk_version, "patch")
    settings = (value_text(each.platform.get("kubernetes", {}).get("pipelineConfig")) for each in (before, after))
    config_before, config_after = settings
    if config_before != config_after:
        yield Change("pipeline", "settings of the run", config_before, config_after, "patch")


def _parameters(before: Ir, after: Ir) -> Iterator[Change]:
    for name in _names(before.inputs, after.inputs):
        old, new = before.inputs.get(name), after.inputs.get(name)
        if old is None and new is not None:
            yield Change("parameter", name, None, _definition(new), "minor" if _may_be_left_out(new) else "major")
        elif old is not None and new is None:
            yield Change("parameter", name, _definition(old), None, "major")
        elif old is not None and new is not None and _definition(old) != _definition(new):
            stays = old.type == new.type and (_may_be_left_out(new) or not _may_be_left_out(old))
            yield Change("parameter", name, _definition(old), _definition(new), "minor" if stays else "major")


def _may_be_left_out(definition: InputDefinition) -> bool:
    return definition.optional or definition.has_default


def _definition(definition: InputDefinition) -> str:
    if definition.has_default:
        return f"{definition.type} = {value_text(definition.default)}"
    return definition.type if definition.optional else f"{definition.type} (required)"


def _outputs(before: Ir, after: Ir) -> Iterator[Change]:
    old, new = before.components[ROOT].outputs, after.components[ROOT].outputs
    for name in _names(old, new):
        types = [each[name].type if name in each else None for each in (old, new)]
        if types[0] != types[1]:
            yield Change("output", name, types[0], types[1], "minor" if types[0] is None else "major")
    givers = [
        {each.output: source_text(TaskOutput(each.task, each.key)) for each in ir.dags[ROOT].outputs}
        for ir in (before, after)
    ]
    for name in sorted(givers[0].keys() & givers[1].keys()):
        if givers[0][name] != givers[1][name]:
            yield Change("output", f"what gives {name}", givers[0][name], givers[1][name], "minor")


def _tasks(before: Ir, after: Ir) -> Iterator[Change]:
    old, new = ({task.path: task for task in each.tasks} for each in (before, after))
    for path in _names(old, new):
        if path not in old:
            yield Change("task", "added", None, path, "minor")
        elif path not in new:
            yield Change("task", "removed", path, None, "minor")
        else:
            yield from _task(path, facts_of(before, old[path]), facts_of(after, new[path]))


def _task(path: str, before: Facts, after: Facts) -> Iterator[Change]:
    for key in _names(before, after):
        old, due_before = before.get(key, (None, "none"))
        new, due_after = after.get(key, (None, "none"))
        if old != new:
            topic, subject = key
            yield Change(topic, subject, old, new, due_after if key in after else due_before, (path,))


def _names(before: Iterable[Any], after: Iterable[Any]) -> list[Any]:
    """The names in either, in the order of the later, then what is gone."""
    return list(dict.fromkeys([*after, *before]))
