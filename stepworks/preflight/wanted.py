"""What a pipeline needs, with the pods and the objects that its steps make."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from stepworks.errors import ConfigurationError, NotFoundError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.kinds.manifests import Manifest
from stepworks.kube.preflight.check import Wanted
from stepworks.kube.preflight.needs import STAYING, MakerNeed, Needs, PodNeed
from stepworks.kube.preflight.permissions import Right
from stepworks.kube.preflight.pods import pods_of_placement
from stepworks.operations.permissions import PERMISSIONS, When
from stepworks.placement.pod_placement import PodPlacement
from stepworks.preflight.objects import BUILDERS, objects_of

_AT_ONCE = ("nodes", "parallelism", "parallel_trials")
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
    return Wanted(needs, (*needs.pods, *pods), tuple(objects), _rights(needs, made), unclear)


def _made_by(cluster: Cluster, maker: MakerNeed, unclear: dict[str, str]) -> Iterable[Manifest]:
    """What a step makes; a step of which that is not known is added to those that are unclear."""
    if maker.component not in BUILDERS:
        unclear[maker.step] = "what it makes is not known: it is no step of this library"
        return ()
    try:
        return list(objects_of(cluster, maker.component, maker.given))
    except KeyError as error:
        unclear[maker.step] = f"its {error.args[0]} is known only when it runs"
    except ConfigurationError as error:
        unclear[maker.step] = f"{error.problem}: {error.received}"
    except NotFoundError as error:  # of Trainer it is asked which fields it serves
        unclear[maker.step] = f"{error.problem}. {error.what_to_do}"
    return ()


def _rights(needs: Needs, made: Mapping[str, Sequence[Manifest]]) -> dict[str, list[Right]]:
    """The permissions of each step; of one that changes what others made, by all that the pipeline makes."""
    services = {maker.step: maker.given.get("service", {}) for maker in needs.makers}
    words = {step: set(_words(some, services[step])) for step, some in made.items()}
    everything = {word for some in words.values() for word in some}
    gateway = next((str(each["gateway"]) for each in services.values() if each.get("gateway")), "")
    return {
        maker.step: list(_of_component(maker.component, words[maker.step] or everything, gateway.partition("/")[0]))
        for maker in needs.makers
        if maker.component in PERMISSIONS
    }


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
    if not isinstance(given.get("placement"), Mapping):
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
        secrets=given.get("secrets", ()),
        config_maps=given.get("config_maps", ()),
    )
    if pods is None:
        return []
    # KServe gives a model to its pods by an own way, and a server is not ended by the deadline of a task.
    return [pods.model_copy(update={"endless": True}) if serving else pods]


def _together(given: Mapping[str, Any]) -> int:
    together = 1
    for name in _AT_ONCE:
        number = given.get(name, 1)
        together *= int(number) if isinstance(number, int | float) and number >= 1 else 1
    return together
