"""Executors: what runs a task, from the deployment and from the Kubernetes document."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from stepworks.kubeflow.ir.cursor import Cursor
from stepworks.kubeflow.ir.executor_model import (
    Accelerator,
    Executor,
    ExecutorKind,
    Kubernetes,
    Mount,
    ObjectReference,
    Quantity,
    Resources,
    Toleration,
)
from stepworks.kubeflow.ir.source import ComponentInput, Constant, Source, TaskOutput, UnknownSource
from stepworks.placement.quantity import parse_cpu, parse_memory

_GIGABYTE = 1e9
_KINDS: tuple[ExecutorKind, ...] = ("container", "importer", "resolver", "customJob")
_REFERENCES = (
    ("secretAsEnv", "secretName"),
    ("secretAsVolume", "secretName"),
    ("configMapAsEnv", "configMapName"),
    ("configMapAsVolume", "configMapName"),
    ("imagePullSecret", "secretName"),
)


def read_executor(label: str, cursor: Cursor, kubernetes: Kubernetes | None) -> Executor:
    """Read one executor of the deployment."""
    kind: ExecutorKind = next((kind for kind in _KINDS if kind in cursor), "unknown")
    container = cursor.child("container")
    resources = container.child("resources")
    return Executor(
        label=label,
        kind=kind,
        image=container.text("image"),
        command=container.texts("command"),
        args=container.texts("args"),
        env=tuple((each.text("name"), each.text("value")) for each in container.items("env")),
        resources=Resources(
            cpu_request=_quantity(resources, "resourceCpuRequest", "cpuRequest", parse_cpu, 1),
            cpu_limit=_quantity(resources, "resourceCpuLimit", "cpuLimit", parse_cpu, 1),
            memory_request=_quantity(resources, "resourceMemoryRequest", "memoryRequest", parse_memory, _GIGABYTE),
            memory_limit=_quantity(resources, "resourceMemoryLimit", "memoryLimit", parse_memory, _GIGABYTE),
        ),
        accelerator=_accelerator(resources.child("accelerator")) if "accelerator" in resources else None,
        kubernetes=kubernetes,
        raw=cursor.value,
        location=cursor.path,
    )


def _quantity(
    resources: Cursor, key: str, old_key: str, parse: Callable[[str], Any], old_unit: float
) -> Quantity | None:
    """A quantity from the field of today, a text, or else from the one before, a number of cores or gigabytes."""
    text = resources.text(key)
    if text:
        try:
            value = float(parse(text))
        except (ValueError, OverflowError):
            value = None
        return Quantity(text, value, (*resources.path, key))
    number = resources.number(old_key)
    if not number:  # protobuf writes no zero, and zero is what is not set
        return None
    return Quantity(resources.text(old_key), number * old_unit, (*resources.path, old_key))


def _accelerator(cursor: Cursor) -> Accelerator:
    text = cursor.text("resourceCount") or cursor.text("count")
    number = int(text) if text.isascii() and text.isdecimal() and len(text) <= 9 else None
    return Accelerator(cursor.text("resourceType") or cursor.text("type"), text, number, cursor.path)


def read_kubernetes(cursor: Cursor) -> Kubernetes:
    """Read what the Kubernetes document says of one executor."""
    selector, metadata = cursor.child("nodeSelector"), cursor.child("podMetadata")
    return Kubernetes(
        tolerations=tuple(_toleration(each) for each in cursor.items("tolerations")),
        node_selector=selector.mapping_of_texts("labels"),
        dynamic_selector="nodeSelectorJson" in selector,
        node_affinity=tuple(each.value for each in cursor.items("nodeAffinity")),
        mounts=tuple(_mount(each) for each in cursor.items("pvcMount")),
        references=tuple(
            ObjectReference(kind, _name(each, key), each.path)  # type: ignore[arg-type]
            for kind, key in _REFERENCES
            for each in cursor.items(kind)
        ),
        timeout_seconds=cursor.integer("activeDeadlineSeconds"),
        labels=metadata.mapping_of_texts("labels"),
        annotations=metadata.mapping_of_texts("annotations"),
        raw=cursor.value,
        location=cursor.path,
    )


def _toleration(cursor: Cursor) -> Toleration:
    return Toleration(
        key=cursor.text("key"),
        operator=cursor.text("operator") or "Equal",
        value=cursor.text("value"),
        effect=cursor.text("effect"),
        dynamic="tolerationJson" in cursor,
        location=cursor.path,
    )


def _mount(cursor: Cursor) -> Mount:
    return Mount(
        claim=_name(cursor, "pvcName", "constant"),
        source=read_source(cursor.child("pvcNameParameter") if "pvcNameParameter" in cursor else cursor),
        path=cursor.text("mountPath"),
        sub_path=cursor.text("subPath"),
        location=cursor.path,
    )


def _name(cursor: Cursor, key: str, old_key: str = "") -> str:
    """The name of an object: from the parameter that gives it, when that is a constant, or the field before it."""
    source = read_source(cursor.child(f"{key}Parameter"))
    if isinstance(source, Constant) and isinstance(source.value, str):
        return source.value
    return cursor.text(old_key or key)


def read_source(cursor: Cursor) -> Source:
    """Where the value of an input comes from: one of the fields of KFP's InputParameterSpec."""
    if "taskOutputParameter" in cursor:
        output = cursor.child("taskOutputParameter")
        return TaskOutput(output.text("producerTask"), output.text("outputParameterKey"))
    if "componentInputParameter" in cursor:
        return ComponentInput(cursor.text("componentInputParameter"))
    if "runtimeValue" in cursor:
        return _runtime_value(cursor.child("runtimeValue"))
    if "constant" in cursor:
        return Constant(cursor.value["constant"])
    return UnknownSource(tuple(cursor.value))


def _runtime_value(cursor: Cursor) -> Source:
    if "constant" in cursor.value:
        return Constant(cursor.value["constant"])
    if "constantValue" in cursor:  # of the schema 2.0, one field a type
        values: Mapping[str, Any] = cursor.child("constantValue").value
        return Constant(next(iter(values.values()), None))
    if "runtimeParameter" in cursor:
        return ComponentInput(cursor.text("runtimeParameter"))
    return UnknownSource(tuple(cursor.value))
