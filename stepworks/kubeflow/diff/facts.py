"""What a task of a compiled pipeline is, fact by fact: what it gets, when it runs, where and with what."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from stepworks.kubeflow.diff.change import Topic
from stepworks.kubeflow.ir.executor_model import Accelerator, Executor, Kubernetes, Quantity
from stepworks.kubeflow.ir.model import Input, Ir, Retry, Task
from stepworks.kubeflow.ir.source import ComponentInput, Constant, FinalStatus, Source, TaskOutput
from stepworks.kubeflow.semantic_version import Change as Due

Facts = dict[tuple[Topic, str], tuple[str | None, Due]]
"""What a task is: a topic and a subject, with the value and the version that a change of it asks for."""


def facts_of(ir: Ir, task: Task) -> Facts:
    """What a task of a pipeline is, fact by fact."""
    facts: Facts = {("data", f"{each.kind} {each.name}"): (_input(each), "minor") for each in task.inputs}
    given = {each.name for each in task.inputs}
    component = ir.components.get(task.component)
    for definition in component.inputs.values() if component else ():
        if definition.has_default and definition.name not in given:
            facts["data", f"default of {definition.name}"] = (value_text(definition.default), "minor")
    for selector in ir.dags[task.component].outputs if task.has_dag and task.component in ir.dags else ():
        facts["data", f"what gives {selector.output}"] = (f"{selector.task}.{selector.key}", "minor")
    facts["order", "runs after"] = (", ".join(sorted(task.dependencies)) or None, "minor")
    facts["order", "condition"] = (task.condition or None, "minor")
    facts["order", "runs also after a failure"] = ("yes" if task.strategy else None, "minor")
    if task.iterator:
        facts["order", "iterations"] = (str(task.iterator.count or f"of {task.iterator.items_input}"), "minor")
        facts["data", "items"] = (value_text(_at(ir.raw, task.iterator.location)), "minor")
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
        ("step", "code"): (digest([executor.command, executor.args]), "patch"),
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
        facts["step", "settings"] = (digest(executor.raw), "patch")
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
        claim = mount.claim or source_text(mount.source)
        facts["placement", f"mount {mount.path}"] = (f"{claim}/{mount.sub_path}".rstrip("/"), "patch")
    for kind, values in (("label", settings.labels), ("annotation", settings.annotations)):
        for key, value in values.items():
            facts["placement", f"{kind} {key}"] = (value, "patch")
    if settings.timeout_seconds is not None:
        facts["run", "timeout"] = (f"{settings.timeout_seconds} s", "patch")
    if settings.dynamic_selector:
        facts["placement", "node selector"] = (value_text(settings.raw.get("nodeSelector")), "patch")
    for name, value in settings.raw.items():
        if name not in _TOLD:
            facts["placement", name] = (value_text(value), "patch")
    return facts


def _toleration(raw: Mapping[str, Any]) -> str:
    key = raw.get("key") or ("any taint" if "tolerationJson" not in raw else value_text(raw["tolerationJson"]))
    value = f"={raw['value']}" if raw.get("operator", "Equal") == "Equal" and "value" in raw else ""
    seconds = f" for {raw['tolerationSeconds']} s" if "tolerationSeconds" in raw else ""
    return f"{key}{value}:{raw.get('effect') or 'any effect'}{seconds}"


def _input(each: Input) -> str:
    return f"{source_text(each.source)}{f' [{each.selector}]' if each.selector else ''}"


def source_text(source: Source) -> str:
    """Where a value comes from, as people read it."""
    match source:
        case TaskOutput(task, key):
            return f"{task}.{key}"
        case ComponentInput(name):
            return name
        case Constant(value):
            return str(value_text(value))
        case FinalStatus(task):
            return f"how {task} ended"
        case _:
            return "something that this version does not know"


def _retry(retry: Retry) -> str:
    wait = f", the first after {retry.backoff_duration}" if retry.backoff_duration else ""
    factor = f", each wait {retry.backoff_factor:g} times the last" if retry.backoff_factor else ""
    most = f", at most {retry.backoff_max_duration}" if retry.backoff_max_duration else ""
    return f"{retry.count}{wait}{factor}{most}"


def digest(value: Any) -> str:
    """A short digest of a value."""
    return f"sha256 {hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:12]}"


def value_text(value: Any) -> str | None:
    """A value as people read it; None stays None."""
    if value is None or isinstance(value, str):
        return value if value != "" else '""'
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=dict)


def _at(value: Any, path: Sequence[str | int]) -> Any:
    """What a path leads to."""
    for key in path:
        value = value[key]
    return value
