"""The pods of a placement, and what is read of a pod's template."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from stepworks.kube.builders.pod_template import placed_pod_template
from stepworks.kube.builders.workload import with_sources
from stepworks.kube.preflight.needs import PodNeed
from stepworks.placement.placement import QUEUE_LABEL
from stepworks.placement.pod_placement import PodPlacement
from stepworks.placement.storage import ConfigMapSource, SecretSource

_CONTAINER = "main"


def pods_of_placement(
    given: PodPlacement,
    *,
    steps: Iterable[str],
    maker: str = "",
    together: int = 1,
    parallel: int = 1,
    secrets: Iterable[Mapping[str, Any]] = (),
    config_maps: Iterable[Mapping[str, Any]] = (),
) -> PodNeed | None:
    """What pods need that a step makes; None where no target was compiled for.

    Args:
        given: The placement that the step is given.
        steps: The steps.
        maker: The kind of the object that makes the pods.
        together: How many of them need each other.
        parallel: How many such groups there are at once.
        secrets: The step's own Secrets, on top of the placement's, as a target writes them.
        config_maps: Its ConfigMaps, likewise.

    Raises:
        ConfigurationError: The placement cannot be applied.
    """
    if given.placement is None:
        return None
    own = tuple(map(SecretSource.model_validate, secrets)), tuple(map(ConfigMapSource.model_validate, config_maps))
    template = {"spec": {"containers": [{"name": _CONTAINER}]}}
    placement = with_sources(given.placement, *own)
    placed = placed_pod_template(template, placement, given.mounts, container=_CONTAINER)
    need = need_of(placed, steps=steps, maker=maker)
    return need.model_copy(update={"together": together, "parallel": parallel})


def need_of(template: Mapping[str, Any], *, steps: Iterable[str], maker: str = "") -> PodNeed:
    """What pods of a template need of the cluster.

    Args:
        template: A PodTemplateSpec.
        steps: The steps.
        maker: The kind of the object that makes the pods.
    """
    spec, labels = template["spec"], (template.get("metadata") or {}).get("labels") or {}
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    resources = [each.get("resources") or {} for each in spec["containers"]]
    return PodNeed(
        steps=tuple(steps),
        maker=maker,
        requests={**(resources[0].get("limits") or {}), **(resources[0].get("requests") or {})},
        limits=resources[0].get("limits") or {},
        node_selector=spec.get("nodeSelector") or {},
        node_terms=tuple(required.get("nodeSelectorTerms") or ()),
        tolerations=tuple(spec.get("tolerations") or ()),
        claims=tuple(dict.fromkeys(_claims(spec))),
        secrets=_sources(spec, "secretKeyRef", "secret", "secretName"),
        config_maps=_sources(spec, "configMapKeyRef", "configMap", "name"),
        image_pull_secrets=tuple(each["name"] for each in spec.get("imagePullSecrets") or ()),
        service_account=spec.get("serviceAccountName") or "",
        priority_class=spec.get("priorityClassName") or "",
        queue=labels.get(QUEUE_LABEL, ""),
        endless="activeDeadlineSeconds" not in spec,
    )


def _claims(spec: Mapping[str, Any]) -> Iterable[str]:
    volumes = spec.get("volumes") or ()
    return (each["persistentVolumeClaim"]["claimName"] for each in volumes if "persistentVolumeClaim" in each)


def _sources(spec: Mapping[str, Any], variable: str, volume: str, named: str) -> dict[str, tuple[str, ...]]:
    """The Secrets or ConfigMaps that must be there, with the keys that are read as variables."""
    keys: dict[str, list[str]] = {}
    for container in spec["containers"]:
        for each in container.get("env") or ():
            source = (each.get("valueFrom") or {}).get(variable)
            if source and not source.get("optional"):
                keys.setdefault(source["name"], []).append(source["key"])
    for each in spec.get("volumes") or ():
        source = each.get(volume)
        if source and not source.get("optional"):
            keys.setdefault(source[named], [])
    return {name: tuple(dict.fromkeys(each)) for name, each in keys.items()}
