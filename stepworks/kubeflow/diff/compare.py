"""Comparing two compiled pipelines by their meaning: not the bytes, but what would run, where and with what."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from stepworks.kubeflow.diff.change import Change, Difference, Topic, gather
from stepworks.kubeflow.ir.executor_model import (
    Accelerator,
    ComponentInput,
    Constant,
    Executor,
    FinalStatus,
    Kubernetes,
    Quantity,
    Source,
    TaskOutput,
)
from stepworks.kubeflow.ir.model import ROOT, Input, InputDefinition, Ir, Retry, Task
from stepworks.kubeflow.semantic_version import Change as Due

Facts = dict[tuple[Topic, str], tuple[str | None, Due]]
"""What a task is: a topic and a subject, with the value and the version that a change of it asks for."""


def compare(before: Ir, after: Ir) -> Difference:
    """Compare two compiled pipelines.

    Args:
        before: The earlier one.
        after: The later one.
    """
    return gather(
        [*_pipeline(before, after), *_parameters(before, after), *_outputs(before, after), *_tasks(before, after)]
    )


def _pipeline(before: Ir, after: Ir) -> Iterator[Change]:
    if before.name != after.name:
        yield Change("pipeline", "name", before.name, after.name, "major")
    if before.backend != after.backend:
        yield Change("pipeline", "backend", before.backend, after.backend, "major")
    if before.sdk_version != after.sdk_version:
        yield Change("pipeline", "compiler", before.sdk_version, after.sdk_version, "patch")
    settings = (_text(each.platform.get("kubernetes", {}).get("pipelineConfig")) for each in (before, after))
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
    default = (
        f" = {_text(definition.default)}" if definition.has_default else "" if definition.optional else " (required)"
    )
    return f"{definition.type}{default}"


def _outputs(before: Ir, after: Ir) -> Iterator[Change]:
    old, new = before.components[ROOT].outputs, after.components[ROOT].outputs
    for name in _names(old, new):
        types = [each[name].type if name in each else None for each in (old, new)]
        if types[0] != types[1]:
            yield Change("output", name, types[0], types[1], "minor" if types[0] is None else "major")


def _tasks(before: Ir, after: Ir) -> Iterator[Change]:
    old, new = ({task.path: task for task in each.tasks} for each in (before, after))
    for path in _names(old, new):
        if path not in old:
            yield Change("task", "added", None, path, "minor")
        elif path not in new:
            yield Change("task", "removed", path, None, "minor")
        else:
            yield from _task(path, facts_of(old[path]), facts_of(new[path]))


def _task(path: str, before: Facts, after: Facts) -> Iterator[Change]:
    for key in _names(before, after):
        old, due_before = before.get(key, (None, "none"))
        new, due_after = after.get(key, (None, "none"))
        if old != new:
            topic, subject = key
            yield Change(topic, subject, old, new, due_after if key in after else due_before, (path,))


def facts_of(task: Task) -> Facts:
    """What a task is, fact by fact."""
    facts: Facts = {("data", f"{each.kind} {each.name}"): (_input(each), "minor") for each in task.inputs}
    facts["order", "runs after"] = (", ".join(sorted(task.dependencies)) or None, "minor")
    facts["order", "condition"] = (task.condition or None, "minor")
    facts["order", "runs also after a failure"] = ("yes" if task.strategy else None, "minor")
    if task.iterator:
        facts["order", "iterations"] = (str(task.iterator.count or f"of {task.iterator.items_input}"), "minor")
        facts["order", "iterations at once"] = (str(task.iterator.parallelism_limit or "all"), "patch")
    facts["run", "retries"] = (_retry(task.retry) if task.retry else None, "patch")
    facts["run", "cache"] = ("on" if task.cache else "off", "patch")
    facts["run", "cache key"] = (task.cache_key or None, "patch")
    if task.executor:
        facts |= _executor(task.executor)
    return {key: value for key, value in facts.items() if value[0] is not None}


def _executor(executor: Executor) -> Facts:
    resources = executor.resources
    facts: Facts = {
        ("image", "image"): (executor.image or None, "patch"),
        ("step", "code"): (_digest([executor.command, executor.args]), "patch"),
        ("step", "what runs it"): (executor.kind, "patch"),
        ("resources", "CPU request"): (_quantity(resources.cpu_request), "patch"),
        ("resources", "CPU limit"): (_quantity(resources.cpu_limit), "patch"),
        ("resources", "memory request"): (_quantity(resources.memory_request), "patch"),
        ("resources", "memory limit"): (_quantity(resources.memory_limit), "patch"),
        ("resources", "accelerator"): (_accelerator(executor.accelerator), "patch"),
    }
    for name, value in executor.env:
        facts["placement", f"variable {name}"] = (value, "patch")
    if executor.kind != "container":
        facts["step", "settings"] = (_digest(executor.raw), "patch")
    return facts | (_kubernetes(executor.kubernetes) if executor.kubernetes else {})


def _quantity(quantity: Quantity | None) -> str | None:
    return quantity.text if quantity else None


def _accelerator(accelerator: Accelerator | None) -> str | None:
    return f"{accelerator.count_text} x {accelerator.type}" if accelerator else None


_TOLD = {"tolerations", "nodeSelector", "pvcMount", "podMetadata", "activeDeadlineSeconds"}
"""What `_kubernetes` tells field by field; any other setting is told as it is."""


def _kubernetes(settings: Kubernetes) -> Facts:
    facts: Facts = {}
    for label, value in settings.node_selector.items():
        facts["placement", f"node selector {label}"] = (value, "patch")
    tolerations = sorted(_toleration(each) for each in settings.raw.get("tolerations", []))
    facts["placement", "tolerations"] = (", ".join(tolerations) or None, "patch")
    for mount in settings.mounts:
        claim = mount.claim or _source(mount.source)
        facts["placement", f"mount {mount.path}"] = (f"{claim}/{mount.sub_path}".rstrip("/"), "patch")
    for kind, values in (("label", settings.labels), ("annotation", settings.annotations)):
        for key, value in values.items():
            facts["placement", f"{kind} {key}"] = (value, "patch")
    if settings.timeout_seconds is not None:
        facts["run", "timeout"] = (f"{settings.timeout_seconds} s", "patch")
    if settings.dynamic_selector:
        facts["placement", "node selector"] = (_text(settings.raw.get("nodeSelector")), "patch")
    for name, value in settings.raw.items():
        if name not in _TOLD:
            facts["placement", name] = (_text(value), "patch")
    return facts


def _toleration(raw: Mapping[str, Any]) -> str:
    key = raw.get("key") or ("any taint" if "tolerationJson" not in raw else _text(raw["tolerationJson"]))
    value = f"={raw['value']}" if raw.get("value") else ""
    return f"{key}{value}:{raw.get('effect') or 'any effect'}"


def _input(each: Input) -> str:
    return f"{_source(each.source)}{f' [{each.selector}]' if each.selector else ''}"


def _source(source: Source) -> str:
    match source:
        case TaskOutput(task, key):
            return f"{task}.{key}"
        case ComponentInput(name):
            return name
        case Constant(value):
            return str(_text(value))
        case FinalStatus(task):
            return f"how {task} ended"
        case _:
            return "something that this version does not know"


def _retry(retry: Retry) -> str:
    wait = f", the first after {retry.backoff_duration}" if retry.backoff_duration else ""
    factor = f", each wait {retry.backoff_factor:g} times the last" if retry.backoff_factor else ""
    most = f", at most {retry.backoff_max_duration}" if retry.backoff_max_duration else ""
    return f"{retry.count}{wait}{factor}{most}"


def _names(before: Iterable[Any], after: Iterable[Any]) -> list[Any]:
    """The names in either, in the order of the later, then what is gone."""
    return list(dict.fromkeys([*after, *before]))


def _digest(value: Any) -> str:
    return f"sha256 {hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:12]}"


def _text(value: Any) -> str | None:
    """A value as people read it; None stays None."""
    if value is None or isinstance(value, str):
        return value if value != "" else '""'
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=dict)
