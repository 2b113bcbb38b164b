"""What a compiled pipeline needs of a cluster, read from its IR."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

from stepworks.errors import ConfigurationError
from stepworks.kube.preflight.amounts import Amounts, amount_text, parse_amount, times, total
from stepworks.kube.preflight.needs import MAKERS, MakerNeed, Needs, PeakNeed, PodClass, PodNeed, alike
from stepworks.kube.preflight.pods import pods_of_placement
from stepworks.kube.preflight.quotas import asked_by_quota
from stepworks.kubeflow.ir.executor_model import Executor, Kubernetes, Mount, Quantity, Toleration
from stepworks.kubeflow.ir.model import Ir, Task
from stepworks.kubeflow.ir.peak import peak_of
from stepworks.kubeflow.ir.placeholders import placeholder_input
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
_OURS = "from stepworks."
"""Stands in the code of each step of this library."""
_NO_IMAGE = "argostub/"
"""How the images begin in whose place Kubeflow does something itself: makes and deletes claims."""
_UNNAMED = {
    "secretAsEnv": "Secret",
    "secretAsVolume": "Secret",
    "configMapAsEnv": "ConfigMap",
    "configMapAsVolume": "ConfigMap",
    "imagePullSecret": "image pull secret",
}
_THOUSANDTHS = 1000
"""Peaks are counted in whole numbers; CPU comes in thousandths of a core."""


def needs_of(ir: Ir, *, checked_by: str = "") -> Needs:
    """Read what a pipeline needs of a cluster.

    A value that a parameter of the pipeline gives is taken from its default where nobody checks the cluster yet. For a
    check within a run it is not known: the run may have been given another.

    Args:
        ir: The pipeline.
        checked_by: The path of the task that checks the cluster in the run; empty for a check before it.

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
    reader = _Reader(ir, in_run=bool(checked_by))
    tasks = [task for task in ir.tasks if _has_pod(task) and task.path != checked_by]
    pods = {task.path: reader.pods(task) for task in tasks}
    return Needs(
        pods=tuple(alike(each[0] for each in pods.values())),
        makers=tuple(reader.maker(task) for task in tasks if reader.is_maker(task)),
        **_peaks(ir, pods),
    )


def _has_pod(task: Task) -> bool:
    """Whether a task is a container; Kubeflow makes and deletes claims by itself, by images that there are not."""
    executor = task.executor
    return executor is not None and executor.kind == "container" and not executor.image.startswith(_NO_IMAGE)


def function_of(task: Task) -> str:
    """The function of a task's component; its name where it runs no function of Python."""
    arguments: Sequence[str] = task.executor.args if task.executor else ()
    if _FUNCTION in arguments[:-1]:
        return arguments[arguments.index(_FUNCTION) + 1]
    return task.component


class _Reader:
    """Reads tasks of a pipeline.

    Args:
        ir: The pipeline.
        in_run: Whether its parameters have values that are not their defaults.
    """

    def __init__(self, ir: Ir, *, in_run: bool) -> None:
        self._ir = ir
        self._values = Values(ir)
        self._in_run = in_run
        self._tasks = {task.path: task for task in ir.tasks}
        made = (task for task in ir.tasks if task.executor and task.executor.image.startswith(_NO_IMAGE))
        self._made_claims = {self._values.of_input(task, "pvc_name") for task in made}

    def is_maker(self, task: Task) -> bool:
        """Whether it is a step of this library that makes or changes objects."""
        telling = MAKERS.get(function_of(task))
        code = task.executor.command[-1] if task.executor and task.executor.command else ""
        return telling is not None and telling in self._input_names(task) and _OURS in code

    def maker(self, task: Task) -> MakerNeed:
        """What a step says of the objects that it makes."""
        names = [name for name in GIVEN if name in self._input_names(task)]
        found = {name: self._value(task, name) for name in names}
        known = {name: value for name, value in found.items() if value not in (None, "", 0, False, [], {})}
        later = tuple(name for name in names if found[name] is None and self._values.is_given(task, name))
        placement = known.get("placement")
        if isinstance(placement, Mapping):  # how the target calls it is said in the task's own input
            known["placement"] = {key: value for key, value in placement.items() if key not in ("claims", "target")}
        format_ = self._format_of_package(task) if placement else ""
        return MakerNeed(
            step=task.path,
            component=function_of(task),
            given=known | ({"format": format_} if format_ else {}),
            later=later,
            conditional=self._is_conditional(task),
        )

    def pods(self, task: Task) -> list[PodNeed]:
        """The pod of a task, and those that it makes."""
        assert task.executor is not None
        pods = [self._pod_of_executor(task, task.executor)]
        placement = self._value(task, "placement") if self.is_maker(task) else None
        if isinstance(placement, Mapping):
            given = PodPlacement.from_json(placement)
            if given.placement and given.placement.workload == "inference":
                return pods  # a model server outlives the run
            made = pods_of_placement(
                given, steps=[task.path], maker="pods", together=self._values.pods_at_once(task) or 1
            )
            pods += [made] if made else []
        return pods

    def _input_names(self, task: Task) -> set[str]:
        component = self._ir.components.get(task.component)
        return set(component.inputs) if component else set()

    def _value(self, task: Task, name: str) -> object:
        """The value of a task's input; None when it is not known."""
        if self._in_run and self._values.is_of_run(task, name):
            return None
        return self._values.of_input(task, name)

    def _text(self, task: Task, text: str) -> str:
        """What a setting of a task is; empty when it is not known."""
        name = placeholder_input(text)
        if self._in_run and name and self._values.is_of_run(task, name):
            return ""
        return self._values.setting(task, text)

    def _is_conditional(self, task: Task) -> bool:
        above: Task | None = task
        while above is not None:
            if above.condition:
                return True
            above = self._tasks.get(above.parent)
        return False

    def _format_of_package(self, task: Task) -> str:
        """The format of the package that a step is given, as far as it is known; empty otherwise."""
        source = next((each.source for each in task.inputs if each.name == "package"), None)
        maker = self._ir.dags[task.dag].tasks.get(source.task) if isinstance(source, TaskOutput) else None
        format_ = self._value(maker, "format") if maker else None
        return format_ if isinstance(format_, str) else ""

    def _pod_of_executor(self, task: Task, executor: Executor) -> PodNeed:
        later: list[str] = []

        def text(value: str, what: str) -> str:
            known = self._text(task, value)
            if value and not known:
                later.append(what)
            return known

        asked, device = executor.resources, executor.accelerator
        limits = {"cpu": asked.cpu_limit, "memory": asked.memory_limit}
        requests = {"cpu": asked.cpu_request, "memory": asked.memory_request}
        devices = {}
        if device:
            resource, count = text(device.type, "accelerator"), text(device.count_text, "accelerators")
            devices = {resource: count} if resource and count else {}
        known = {
            kind: {name: amount for name, each in some.items() if each and (amount := _amount(name, each, text))}
            for kind, some in (("limits", limits), ("requests", requests))
        }
        settings = executor.kubernetes
        told = self._settings(task, settings, text) if settings else {"endless": True}
        return PodNeed(
            steps=(task.path,),
            limits=known["limits"] | devices,
            requests=known["limits"] | known["requests"] | devices,  # where only a limit is said, it is the request too
            **told,
            later=tuple(dict.fromkeys(later)),
            conditional=self._is_conditional(task),
        )

    def _settings(self, task: Task, settings: Kubernetes, text: Callable[[str, str], str]) -> dict[str, Any]:
        if settings.dynamic_selector:
            text("{{$", "node selector")
        if any(each.dynamic for each in settings.tolerations):
            text("{{$", "tolerations")
        labels = {key: self._text(task, value) for key, value in settings.labels.items()}
        claims = [self._claim(task, mount) for mount in settings.mounts if not isinstance(mount.source, TaskOutput)]
        nameless = [
            *(["claim"] if "" in claims else []),
            *(_UNNAMED[each.kind] for each in settings.references if not each.name),
        ]
        return {
            "node_selector": {key: text(value, "node selector") for key, value in settings.node_selector.items()},
            "node_terms": tuple(_term(each) for each in settings.node_affinity if "weight" not in each),
            "tolerations": tuple(_toleration(each) for each in settings.tolerations if not each.dynamic),
            "claims": tuple(dict.fromkeys(claim for claim in claims if claim and claim not in self._made_claims)),
            "secrets": _sources(settings, "secretAsEnv", "secretAsVolume", "secretKey"),
            "config_maps": _sources(settings, "configMapAsEnv", "configMapAsVolume", "configMapKey"),
            "image_pull_secrets": tuple(
                each.name for each in settings.references if each.kind == "imagePullSecret" and each.name
            ),
            "unnamed": tuple(dict.fromkeys(nameless)),
            "priority_class": labels.get(PRIORITY_CLASS_LABEL, ""),
            "queue": labels.get(QUEUE_LABEL, ""),
            "endless": settings.timeout_seconds is None,
        }

    def _claim(self, task: Task, mount: Mount) -> str:
        """The name of a claim; empty where a step makes it, or only the run knows it."""
        if mount.claim:
            return self._text(task, mount.claim)
        if self._in_run and self._values.is_parameter(task, mount.source):
            return ""
        value = self._values.of_source(task, mount.source)
        return value if isinstance(value, str) else ""


def _amount(name: str, quantity: Quantity, text: Callable[[str, str], str]) -> str:
    """An amount as Kubernetes writes it; empty where it is not known."""
    if quantity.value is not None:
        return amount_text(name, Decimal(str(quantity.value)))
    known = text(quantity.text, name)
    try:
        parse_amount(known or "0")
    except ValueError:  # what Kubernetes does not take is told when the pipeline is linted
        return text("{{$", name)
    return known


def _toleration(toleration: Toleration) -> dict[str, Any]:
    fields = {
        "key": toleration.key,
        "operator": toleration.operator,
        "value": toleration.value,
        "effect": toleration.effect,
    }
    return {key: value for key, value in fields.items() if value}


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
            path: total(times(asked_by_quota(pod), pod.at_once) for pod in each if wanted(pod))
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
