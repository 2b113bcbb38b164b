"""What a pipeline needs, with the pods and the objects that its steps make."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from stepworks.errors import ClusterError, NotFoundError, UserError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.kinds.manifests import Manifest
from stepworks.kube.preflight.check import Wanted
from stepworks.kube.preflight.needs import STAYING, MakerNeed, Needs, PodNeed
from stepworks.kube.preflight.permissions import Right
from stepworks.kube.preflight.pods import pods_of_placement
from stepworks.operations.permissions import PERMISSIONS, When
from stepworks.placement.pod_placement import PodPlacement
from stepworks.preflight.objects import objects_of

_COUNTS = frozenset(
    {"completions", "least_nodes", "nodes", "parallel_trials", "parallelism", "parameter_servers", "trials"}
)
"""Inputs that say how many there are of what is known otherwise."""
_BY_KIND: Mapping[str, tuple[When, ...]] = {
    "PersistentVolumeClaim": ("claim",),
    "Job": ("job",),
    "TrainJob": ("trainjob",),
    "TrainingRuntime": ("trainjob", "override"),
    "PyTorchJob": ("pytorchjob",),
    "TFJob": ("tfjob",),
    "Experiment": ("experiment",),
    "InferenceService": ("inference-service",),
    "InferenceGraph": ("graph",),
    "HTTPRoute": ("gateway",),
    "Deployment": ("model-server",),
    "HorizontalPodAutoscaler": ("autoscaling", "custom-metric"),
    "ScaledObject": ("autoscaling", "keda"),
}
"""What makes a permission necessary, by the kinds that are made."""


def wanted_by(cluster: Cluster, needs: Needs) -> Wanted:
    """Add what the steps of a pipeline make to what it needs.

    Args:
        cluster: Where; of some objects it says which fields are served.
        needs: What was read from the IR.
    """
    unclear: dict[str, str] = {}
    made = {maker.step: list(_made_by(cluster, maker, unclear)) for maker in needs.makers}
    pods = [pod for maker in needs.makers for pod in _pods_of(maker, made[maker.step])]
    objects = [(step, manifest) for step, some in made.items() for manifest in some]
    rights = _rights(needs, made, unclear)
    for maker in needs.makers:
        if maker.later and maker.step not in unclear:
            unclear[maker.step] = f"its {', '.join(maker.later)}: only the run knows, and the least is looked at"
    return Wanted(needs, (*needs.pods, *pods), tuple(objects), rights, unclear)


def _made_by(cluster: Cluster, maker: MakerNeed, unclear: dict[str, str]) -> Iterable[Manifest]:
    """What a step makes; a step of which that is not known is added to those that are unclear."""
    if vague := [name for name in maker.later if name not in _COUNTS]:
        unclear[maker.step] = f"its {', '.join(vague)}: only the run knows"
        return ()
    try:
        return list(objects_of(cluster, maker.component, maker.given))
    except KeyError as error:
        unclear[maker.step] = f"its {error.args[0]}: only the run knows"
    except NotFoundError as error:  # of Trainer it is asked which fields it serves
        unclear[maker.step] = f"{error.problem}. {error.what_to_do}"
    except (UserError, ClusterError) as error:
        unclear[maker.step] = f"{error.problem}: {error.received}"
    return ()


def _rights(needs: Needs, made: Mapping[str, Sequence[Manifest]], unclear: Collection[str]) -> dict[str, list[Right]]:
    """The permissions of each step; of one that changes what others made, by all that the pipeline makes."""
    services = {maker.step: _service(maker) for maker in needs.makers}
    words = {step: set(_words(some, services[step])) for step, some in made.items()}
    everything = {word for some in words.values() for word in some}
    gateway = next((str(each["gateway"]) for each in services.values() if each.get("gateway")), "")
    return {
        maker.step: list(_of_component(maker.component, words[maker.step] or everything, gateway.partition("/")[0]))
        for maker in needs.makers
        if maker.component in PERMISSIONS and maker.step not in unclear
    }


def _service(maker: MakerNeed) -> Mapping[str, Any]:
    service = maker.given.get("service")
    return service if isinstance(service, Mapping) else {}


def _words(made: Iterable[Manifest], service: Mapping[str, Any]) -> Iterator[str]:
    for manifest in made:
        yield from _BY_KIND.get(manifest["kind"], ())
    if service.get("mode") == "Knative":
        yield "knative"


def _of_component(component: str, words: Collection[str], gateway: str) -> Iterator[Right]:
    for each in PERMISSIONS[component]:
        if each.when and each.when not in words:
            continue
        namespace = gateway if each.namespace == "gateway" else ""
        for resource in each.resources:
            yield from (Right(each.group, resource, verb, namespace, each.optional) for verb in each.verbs)


def _pods_of(maker: MakerNeed, made: list[Manifest]) -> list[PodNeed]:
    """The pods that a step makes, by the placement that it is given for them."""
    given = maker.given
    if not isinstance(given.get("placement"), Mapping) or not {*maker.later} <= _COUNTS:
        return []
    placement = PodPlacement.from_json(given["placement"])
    serving = placement.placement is not None and placement.placement.workload == "inference"
    kind = made[0]["kind"] if made else given.get("kind", "pods")
    kind = "TrainJob" if kind == "TrainingRuntime" else kind
    pods = pods_of_placement(
        placement,
        steps=[maker.step],
        maker=str(kind) if not serving or kind in STAYING else STAYING[0],
        together=_together(given),
        parallel=_parallel(given, _service(maker)),
        secrets=given.get("secrets", ()),
        config_maps=given.get("config_maps", ()),
    )
    if pods is None:
        return []
    # KServe gives a model to its pods by an own way, and a server is not ended by the deadline of a task.
    changes = {"conditional": maker.conditional} | ({"endless": True} if serving else {})
    return [pods.model_copy(update=changes)]


def _together(given: Mapping[str, Any]) -> int:
    """How many pods need each other: the nodes of a training, or the least of them with which it goes on."""
    nodes = _number(given.get("least_nodes")) or _number(given.get("nodes")) or 1
    return nodes + _number(given.get("parameter_servers")) + bool(given.get("evaluator"))


def _parallel(given: Mapping[str, Any], service: Mapping[str, Any]) -> int:
    """How many there are at once that do not need each other: of a Job, of a search, of a model server."""
    at_once = [
        given.get("parallelism"),
        given.get("parallel_trials"),
        service.get("min_replicas"),
        service.get("replicas"),
    ]
    return max(1, *(_number(each) for each in at_once))


def _number(value: object) -> int:
    return int(value) if isinstance(value, int | float) and value >= 1 else 0
