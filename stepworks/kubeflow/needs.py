"""What a compiled pipeline needs of a cluster, read from its IR."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

from stepworks.errors import ConfigurationError
from stepworks.kube.preflight.amounts import Amounts, amount_text, times, total
from stepworks.kube.preflight.needs import MAKERS, MakerNeed, Needs, PeakNeed, PodClass, PodNeed, alike
from stepworks.kube.preflight.pods import pods_of_placement
from stepworks.kube.preflight.quotas import asked_by_quota
from stepworks.kubeflow.ir.executor_model import Executor, Kubernetes
from stepworks.kubeflow.ir.model import Ir, Task
from stepworks.kubeflow.ir.peak import peak_of
from stepworks.kubeflow.ir.source import TaskOutput
from stepworks.kubeflow.ir.values import Values
from stepworks.placement.placement import PRIORITY_CLASS_LABEL, QUEUE_LABEL
from stepworks.placement.pod_placement import PodPlacement

GIVEN = (
    "access_mode",
    "algorithm",
    "algorithm_settings",
    "completions",
    "config_maps",
    "evaluator",
    "image",
    "kind",
    "least_nodes",
    "nodes",
    "objective",
    "parallel_trials",
    "parallelism",
    "parameter_servers",
    "placement",
    "runtime",
    "secrets",
    "service",
    "size",
    "space",
    "storage_class",
    "trials",
)
"""The inputs of steps that say what is made."""

_FUNCTION = "--function_to_execute"
_THOUSANDTHS = 1000
"""Peaks are counted in whole numbers; CPU comes in thousandths of a core."""


def needs_of(ir: Ir, *, checked_by: str = "") -> Needs:
    """Read what a pipeline needs of a cluster.

    A value that a parameter of the pipeline gives is taken from its default; a run may give another.

    Args:
        ir: The pipeline.
        checked_by: The path of the task that checks the cluster, which is there when it does.

    Raises:
        ConfigurationError: It was compiled for Vertex AI; or a step's placement is none.
    """
    if ir.backend == "vertex":
        raise ConfigurationError(
            "The pipeline was compiled for Vertex AI, which a Kubernetes cluster cannot run",
            received=str(ir.file),
            expected="a pipeline that was compiled for a target with the backend kubeflow",
            what_to_do="Check the file of another target, for example compiled/…/a100.yaml.",
        )
    values = Values(ir)
    running = [task for task in ir.tasks if task.executor and task.executor.kind == "container"]
    tasks = [task for task in running if task.path != checked_by]
    pods = {task.path: _pods_of_task(values, task) for task in tasks}
    making = [task for task in tasks if function_of(task) in MAKERS or "placement" in _input_names(ir, task)]
    return Needs(
        pods=tuple(alike(each[0] for each in pods.values())),
        makers=tuple(
            MakerNeed(step=task.path, component=function_of(task), given=_given(ir, values, task)) for task in making
        ),
        **_peaks(ir, pods),
    )


def function_of(task: Task) -> str:
    """The function of a task's component; its name where it runs no function of Python."""
    arguments: Sequence[str] = task.executor.args if task.executor else ()
    if _FUNCTION in arguments[:-1]:
        return arguments[arguments.index(_FUNCTION) + 1]
    return task.component


def _input_names(ir: Ir, task: Task) -> set[str]:
    component = ir.components.get(task.component)
    return set(component.inputs) if component else set()


def _given(ir: Ir, values: Values, task: Task) -> dict[str, Any]:
    names = _input_names(ir, task)
    found = {name: values.of_input(task, name) for name in GIVEN if name in names}
    known = {name: value for name, value in found.items() if value not in (None, "", 0, False, [], {})}
    placement = known.get("placement")
    if isinstance(placement, Mapping):  # how the target calls it is said in the task's own input
        known["placement"] = {key: value for key, value in placement.items() if key not in ("claims", "target")}
    format_ = _format_of_package(ir, values, task) if placement else ""
    return known | ({"format": format_} if format_ else {})


def _format_of_package(ir: Ir, values: Values, task: Task) -> str:
    """The format of the package that a step is given, as far as it is known; empty otherwise."""
    source = next((each.source for each in task.inputs if each.name == "package"), None)
    maker = ir.dags[task.dag].tasks.get(source.task) if isinstance(source, TaskOutput) else None
    format_ = values.of_input(maker, "format") if maker else None
    return format_ if isinstance(format_, str) else ""


def _pods_of_task(values: Values, task: Task) -> list[PodNeed]:
    """The pod of a task, and those that it makes."""
    assert task.executor is not None
    pods = [_pod_of_executor(values, task, task.executor)]
    placement = values.of_input(task, "placement")
    if isinstance(placement, Mapping):
        given = PodPlacement.from_json(placement)
        if given.placement and given.placement.workload == "inference":
            return pods  # a model server outlives the run
        made = pods_of_placement(given, steps=[task.path], maker="pods", together=values.pods_at_once(task) or 1)
        pods += [made] if made else []
    return pods


def _pod_of_executor(values: Values, task: Task, executor: Executor) -> PodNeed:
    later: list[str] = []

    def text(value: str, what: str) -> str:
        known = values.setting(task, value)
        if value and not known and what not in later:
            later.append(what)
        return known

    asked = executor.resources
    requests = {"cpu": asked.cpu_request, "memory": asked.memory_request}
    limits = {"cpu": asked.cpu_limit, "memory": asked.memory_limit}
    device = executor.accelerator
    devices = {}
    if device:
        resource, count = text(device.type, "accelerator"), text(device.count_text, "accelerators")
        devices = {resource: count} if resource and count else {}
    settings = executor.kubernetes
    amounts = {
        kind: {name: known for name, each in some.items() if each and (known := text(each.text, name))} | devices
        for kind, some in (("requests", requests), ("limits", limits))
    }
    told = _of_settings(settings, text) if settings else {"endless": True}
    return PodNeed(steps=(task.path,), **amounts, **told, later=tuple(later))


def _of_settings(settings: Kubernetes, text: Callable[[str, str], str]) -> dict[str, Any]:
    if settings.dynamic_selector:
        text("{{$", "node selector")
    if any(each.dynamic for each in settings.tolerations):
        text("{{$", "tolerations")
    labels = {key: text(value, "labels") for key, value in settings.labels.items()}
    return {
        "node_selector": {key: text(value, "node selector") for key, value in settings.node_selector.items()},
        "node_terms": tuple(_term(each) for each in settings.node_affinity if "weight" not in each),
        "tolerations": tuple(
            {key: value for key, value in fields.items() if value}
            for each in settings.tolerations
            if not each.dynamic
            for fields in [{"key": each.key, "operator": each.operator, "value": each.value, "effect": each.effect}]
        ),
        "claims": tuple(
            dict.fromkeys(mount.claim for mount in settings.mounts if mount.claim and "{{$" not in mount.claim)
        ),
        "secrets": _sources(settings, "secretAsEnv", "secretAsVolume", "secretKey"),
        "config_maps": _sources(settings, "configMapAsEnv", "configMapAsVolume", "configMapKey"),
        "image_pull_secrets": tuple(
            each.name for each in settings.references if each.kind == "imagePullSecret" and each.name
        ),
        "priority_class": labels.get(PRIORITY_CLASS_LABEL, ""),
        "queue": labels.get(QUEUE_LABEL, ""),
        "endless": settings.timeout_seconds is None,
    }


def _term(term: Mapping[str, Any]) -> dict[str, Any]:
    return {key: [dict(each) for each in term[key]] for key in ("matchExpressions", "matchFields") if key in term}


def _sources(settings: Kubernetes, as_env: str, as_volume: str, key: str) -> dict[str, tuple[str, ...]]:
    """The Secrets or ConfigMaps of an executor that must be there, with the keys that are read as variables."""
    keys: dict[str, list[str]] = {}
    for reference in settings.references:
        if reference.kind not in (as_env, as_volume) or not reference.name:
            continue
        stated = settings.raw[reference.kind][reference.location[-1]]
        if not stated.get("optional"):
            keys.setdefault(reference.name, []).extend(each[key] for each in stated.get("keyToEnv") or [])
    return {name: tuple(dict.fromkeys(each)) for name, each in keys.items()}


def _peaks(ir: Ir, pods: Mapping[str, Sequence[PodNeed]]) -> dict[str, Any]:
    """The most that is asked for at once: by all pods, and by those of each class where there are several."""
    loops: list[str] = []

    def peak(wanted: Callable[[PodNeed], bool]) -> dict[str, str]:
        asked = {
            path: total(times(asked_by_quota(pod), pod.together) for pod in each if wanted(pod))
            for path, each in pods.items()
        }
        amounts = {}
        for name in sorted({name for each in asked.values() for name in each}):
            most, unbounded = peak_of(ir, partial(_scaled, asked, name))
            amounts[name] = amount_text(name, Decimal(most) / _THOUSANDTHS)
            loops.extend(unbounded)
        return amounts

    classes = {pod.pod_class for each in pods.values() for pod in each}
    ordered = sorted(classes, key=lambda each: (each.priority_class, each.endless)) if len(classes) > 1 else []
    return {
        "peak": peak(lambda _: True),
        "peaks": tuple(PeakNeed(amounts=peak(partial(_is_of, each)), **each.model_dump()) for each in ordered),
        "loops": tuple(dict.fromkeys(loops)),
    }


def _scaled(asked: Mapping[str, Amounts], name: str, task: Task) -> int:
    return int(asked.get(task.path, {}).get(name, Decimal(0)) * _THOUSANDTHS)


def _is_of(pod_class: PodClass, pod: PodNeed) -> bool:
    return pod.pod_class == pod_class
