"""What can be known of the scaling of a version before anything is made."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from stepworks.errors import ConflictError, NotFoundError, QueryError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.commands import kubectl
from stepworks.kube.api.discovery import is_served, served_versions
from stepworks.kube.api.objects import apply, list_objects
from stepworks.kube.api.references import Selection, reference_to
from stepworks.kube.builders.autoscaling import ByPrometheus, CustomMetricScaling
from stepworks.kube.builders.inference_service import InferenceServiceSpec
from stepworks.kube.builders.scalers import HPA, SCALED_OBJECT, build_scaler, deployment_of, queries
from stepworks.kube.kinds.manifests import Manifest
from stepworks.prometheus import instant_vector

_METRICS_APIS = {
    "pods": "custom.metrics.k8s.io",
    "object": "custom.metrics.k8s.io",
    "external": "external.metrics.k8s.io",
}


def check_scaling(cluster: Cluster, spec: InferenceServiceSpec, name: str) -> None:
    """Check what can be known of the scaling of a version before it is made; without autoscaling that is nothing.

    Args:
        cluster: Where.
        spec: The service.
        name: The name of the version's InferenceService.

    Raises:
        ConflictError: Something else scales its Deployment.
        NotFoundError: KEDA is not installed, or there is no API for the metric.
        AccessDeniedError: A permission is missing.
        AdmissionError: The cluster does not take the scaler.
        QueryError: A query is wrong, or says nothing that can be scaled by.
        ServingError: Prometheus does not answer.
        ClusterError: The API server fails or does not answer.
    """
    scaling = spec.autoscaling
    if scaling is None:
        return
    _refuse_another_scaler(cluster, name)
    if isinstance(scaling, CustomMetricScaling):
        _require_metrics_api(cluster, scaling)
    scaler = scaler_of(cluster, spec, name)
    if scaler is None:
        return
    apply(cluster, scaler, dry_run=True)
    if isinstance(scaling, ByPrometheus) and may_ask(scaling):
        for trigger, query in queries(scaler).items():
            # What its own pods count is not there before they are; but whether it can be asked for is known.
            must_answer = name not in query
            value_of(scaling.prometheus, trigger, query, must_answer=must_answer)


def scaler_of(cluster: Cluster, spec: InferenceServiceSpec, name: str) -> Manifest | None:
    """What is to scale a version; None where KServe does, or nothing."""
    if spec.autoscaling is None:
        return None
    return build_scaler(
        spec.autoscaling,
        name=name,
        namespace=cluster.namespace,
        min_replicas=spec.min_replicas,
        max_replicas=spec.max_replicas,
    )


def may_ask(scaling: ByPrometheus) -> bool:
    """Whether the step itself may ask Prometheus."""
    return scaling.check_query and scaling.authentication is None


def value_of(url: str, trigger: str, query: str, *, must_answer: bool = True) -> float | None:
    """What a query says, as KEDA would take it; None where it has no result.

    Raises:
        QueryError: It has several results, none although it must have one, or one that is no number.
        ServingError: Prometheus does not answer.
    """
    found = instant_vector(url, query)
    if not found and not must_answer:
        return None
    number = float(found[0]["value"][1]) if len(found) == 1 else math.nan
    if math.isfinite(number):
        return number
    raise QueryError(
        f"The autoscaling by {trigger} asks Prometheus a query that says nothing to scale by",
        received=f"{f'{len(found)} series' if len(found) != 1 else number}, for {query}",
        expected="one number",
        what_to_do=f"Try the query at {url}. Sum over the series; write `(…) or vector(0)` where none is as good as 0. "
        "What cannot be asked from here is not tried with check_query: false.",
    )


def _refuse_another_scaler(cluster: Cluster, name: str) -> None:
    """Refuse a Deployment that something else scales: two would undo each other's work.

    Raises:
        ConflictError: There is one.
    """
    for other in _scalers_of(cluster, deployment_of(name)):
        owners = {(each["kind"], each["name"]) for each in other["metadata"].get("ownerReferences") or ()}
        ours = (other["kind"], other["metadata"]["name"]) == (SCALED_OBJECT[1], name)
        if ours or owners & {("InferenceService", name), (SCALED_OBJECT[1], name)}:
            continue
        reference = reference_to(other)
        raise ConflictError(
            f"The Deployment {deployment_of(name)} is scaled already",
            received=f"{reference}, which is not of this version's service",
            expected="one scaler of a Deployment: two would undo each other's work",
            what_to_do=f"Delete it, or leave autoscaling out: {reference.kubectl('delete')}",
        )


def _scalers_of(cluster: Cluster, deployment: str) -> Iterator[Manifest]:
    for api_version, kind in (HPA, SCALED_OBJECT):
        if not is_served(cluster, api_version, kind):
            continue
        for each in list_objects(cluster, Selection(api_version, kind)):
            target: dict[str, Any] = each["spec"].get("scaleTargetRef") or {}
            if target.get("name") == deployment and target.get("kind", "Deployment") == "Deployment":
                yield each


def _require_metrics_api(cluster: Cluster, scaling: CustomMetricScaling) -> None:
    group = _METRICS_APIS[scaling.metric_of]
    if any(version.startswith(f"{group}/") for version in served_versions(cluster)):
        return
    raise NotFoundError(
        f"The cluster has no API for the metric {scaling.metric}",
        received=f"no {group} among its API groups",
        expected=f"{group}, as Prometheus Adapter serves it",
        what_to_do="Have Prometheus Adapter installed, with rules for the metric: see cluster/autoscaling. "
        + kubectl("get", "apiservices"),
    )
