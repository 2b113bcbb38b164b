"""The objects that scale the pods of a version: a HorizontalPodAutoscaler, or KEDA's ScaledObject.

They bear the name of the InferenceService, and not that of its Deployment: KServe deletes a HorizontalPodAutoscaler
`NAME-predictor` of a service that it is told not to scale, whoever made it.
"""

from __future__ import annotations

from string import Template

from stepworks.kube.builders.autoscaling import (
    Autoscaling,
    ByPrometheus,
    CustomMetricScaling,
    UtilizationScaling,
    query_of,
)
from stepworks.kube.kinds.manifests import Manifest
from stepworks.kube.runs.belonging import KEEP_LABEL

HPA = ("autoscaling/v2", "HorizontalPodAutoscaler")
SCALED_OBJECT = ("keda.sh/v1alpha1", "ScaledObject")
LEAST_ANNOTATION = "stepworks.dev/least-pods"
"""Holds how many pods there are at least once the version serves, where that is fewer than before."""
_BEYOND_REACH = "1000000000"
"""The threshold of the query that only wakes: however much it says, it asks for no second pod."""


def deployment_of(name: str) -> str:
    """The Deployment of an InferenceService's model in KServe's Standard mode."""
    return f"{name}-predictor"


def build_scaler(
    scaling: Autoscaling, *, name: str, namespace: str, min_replicas: int, max_replicas: int
) -> Manifest | None:
    """Build what scales a version; None where KServe itself does.

    A candidate has no traffic, and must be there when its roll-out begins: it keeps one pod, whatever the least number.

    Args:
        scaling: By what.
        name: The name of the version's InferenceService.
        namespace: Its namespace, for the queries.
        min_replicas: How many pods there are at least.
        max_replicas: How many there are at most.
    """
    if isinstance(scaling, UtilizationScaling):
        return None
    metadata: Manifest = {"name": name, "namespace": namespace, "labels": {KEEP_LABEL: "true"}}
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment_of(name)}
    if isinstance(scaling, CustomMetricScaling):
        kind = HPA
        spec: Manifest = {
            "scaleTargetRef": target,
            "minReplicas": min_replicas,
            "maxReplicas": max_replicas,
            "metrics": [_custom_metric(scaling)],
            "behavior": _behavior(scaling),
        }
    else:
        kind = SCALED_OBJECT
        spec = {
            "scaleTargetRef": target,
            "minReplicaCount": max(min_replicas, 1),
            "maxReplicaCount": max_replicas,
            "pollingInterval": scaling.polling_seconds,
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": _behavior(scaling)}},
            "triggers": _triggers(scaling, {"version": name, "namespace": namespace}, lives=min_replicas > 0),
        }
        if not min_replicas:
            spec["cooldownPeriod"] = scaling.cooldown_seconds
            metadata["annotations"] = {LEAST_ANNOTATION: str(min_replicas)}
    return {"apiVersion": kind[0], "kind": kind[1], "metadata": metadata, "spec": spec}


def queries(scaler: Manifest) -> dict[str, str]:
    """The queries of a ScaledObject by the names of their triggers; none of another object."""
    return {each["name"]: each["metadata"]["query"] for each in scaler["spec"].get("triggers", ())}


def _behavior(scaling: CustomMetricScaling | ByPrometheus) -> Manifest:
    windows = {"scaleUp": scaling.scale_up_seconds, "scaleDown": scaling.scale_down_seconds}
    return {direction: {"stabilizationWindowSeconds": seconds} for direction, seconds in windows.items()}


def _custom_metric(scaling: CustomMetricScaling) -> Manifest:
    metric: Manifest = {"name": scaling.metric}
    if scaling.selector:
        metric["selector"] = {"matchLabels": dict(scaling.selector)}
    value = "averageValue" if scaling.per_pod else "value"
    target = {"type": "AverageValue" if scaling.per_pod else "Value", value: _quantity(scaling.target)}
    source: Manifest = {"metric": metric, "target": target}
    if (described := scaling.described_object) is not None:
        source["describedObject"] = {
            "apiVersion": described.api_version,
            "kind": described.kind,
            "name": described.name,
        }
    return {"type": scaling.metric_of.capitalize(), scaling.metric_of: source}


def _triggers(scaling: ByPrometheus, names: dict[str, str], *, lives: bool) -> list[Manifest]:
    query, target, per_pod = query_of(scaling, lives=lives)
    asked: dict[str, tuple[str, str, str, float]] = {
        scaling.kind: (query, _number(target), "AverageValue" if per_pod else "Value", 0.0)
    }
    if scaling.wake and not lives:
        asked["wake"] = (scaling.wake.query, _BEYOND_REACH, "AverageValue", scaling.wake.above)
    triggers = []
    for name, (each, threshold, metric_type, above) in asked.items():
        metadata = {
            "serverAddress": scaling.prometheus,
            "query": Template(each).safe_substitute(names),
            "threshold": threshold,
            "activationThreshold": _number(above),
            "ignoreNullValues": "false",  # what has no result is an error, which leaves the pods as they are
        }
        trigger: Manifest = {"type": "prometheus", "name": name, "metricType": metric_type, "metadata": metadata}
        if scaling.authentication:
            metadata["authModes"] = scaling.authentication.modes
            trigger["authenticationRef"] = {"name": scaling.authentication.name, "kind": scaling.authentication.kind}
        triggers.append(trigger)
    return triggers


def _number(value: float) -> str:
    return f"{value:.12g}"


def _quantity(value: float) -> str:
    """A number as Kubernetes writes quantities, in thousandths where it is not whole."""
    return str(int(value)) if value.is_integer() else f"{max(round(value * 1000), 1)}m"
