"""How the pods of a served model become more and fewer: the settings of each kind of scaling.

Utilisation of CPU and memory is left to KServe, which makes a HorizontalPodAutoscaler for it. All else is scaled by an
object of ours, and KServe is told to make none: by a HorizontalPodAutoscaler on a metric of Prometheus Adapter, or by
KEDA's ScaledObject on a query of Prometheus.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from stepworks.errors import ConfigurationError
from stepworks.kube.builders.server_metrics import (
    Server,
    counted_at_a_server,
    latency_query,
    queue_query,
    requests_query,
)
from stepworks.placement.names import ObjectName
from stepworks.settings_file import Setting

Target = Annotated[float, Field(ge=0.001, allow_inf_nan=False)]
"""A value that is aimed at. Kubernetes counts in thousandths, and what is less would be none."""
Seconds = Annotated[int, Field(ge=1, strict=True)]
Query = Annotated[str, Field(min_length=1)]


class UtilizationScaling(Setting):
    """Scale by the share of the requested CPU or memory that the pods use on average.

    It needs the metrics server in the cluster, and no permission of the step.

    Attributes:
        kind: `cpu` or `memory`.
        target_percent: The share that is aimed at, in percent of the placement's request.
    """

    kind: Literal["cpu", "memory"]
    target_percent: int = Field(default=80, ge=1, le=100, strict=True)


class _OwnScaling(Setting):
    """What the kinds have in common for which the step makes an object of its own.

    Attributes:
        scale_up_seconds: Over how long the lowest of the wanted numbers of pods counts, before there are more.
        scale_down_seconds: Over how long the highest of them counts, before there are fewer.
    """

    scale_up_seconds: int = Field(default=0, ge=0, le=3600, strict=True)
    scale_down_seconds: int = Field(default=300, ge=0, le=3600, strict=True)


class DescribedObject(Setting):
    """The object that a metric describes, as an Ingress whose requests are counted.

    Attributes:
        api_version: `networking.k8s.io/v1`.
        kind: `Ingress`.
        name: Its name.
    """

    api_version: Annotated[str, Field(min_length=1)]
    kind: Annotated[str, Field(min_length=1)]
    name: ObjectName


class CustomMetricScaling(_OwnScaling):
    """Scale by a metric that Prometheus Adapter, or another server of Kubernetes' metrics APIs, has under a name.

    Attributes:
        kind: `custom_metric`.
        metric: Its name in the metrics API: `stepworks_requests_per_second`. A colon cannot be in it; give a metric of
            vLLM another name in the adapter's rule.
        metric_of: Whether it is a metric of the version's pods, of one object, or of something outside of Kubernetes.
        described_object: The object; for a metric of an object only.
        selector: Labels that choose among the series of the metric.
        target: The value that is aimed at.
        per_pod: Whether the target is for each pod, or for what the metric says as a whole. Of pods it is for each.
    """

    kind: Literal["custom_metric"]
    metric: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")]
    metric_of: Literal["pods", "object", "external"] = "pods"
    described_object: DescribedObject | None = None
    selector: dict[str, str] = Field(default_factory=dict)
    target: Target
    per_pod: bool = True

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.metric_of == "object") != (self.described_object is not None):
            raise ValueError("described_object is given with metric_of: object, and with nothing else")
        if self.metric_of == "pods" and not self.per_pod:
            raise ValueError("per_pod: false is for metrics of an object or of the outside; of pods it is each pod's")
        return self


class Authentication(Setting):
    """How KEDA makes itself known to Prometheus.

    Attributes:
        name: Its TriggerAuthentication, which is in the namespace of the model.
        kind: The kind of that object.
        modes: What is used of it: `bearer`, `basic`, `tls`, or several with commas.
    """

    name: ObjectName
    kind: Literal["TriggerAuthentication", "ClusterTriggerAuthentication"] = "TriggerAuthentication"
    modes: Annotated[str, Field(min_length=1)] = "bearer"


class Wake(Setting):
    """What starts the first pod again when there is none.

    With no pod the model's servers count nothing, so that this is counted by what is still there: a gateway, a mesh, a
    queue. Nothing in KServe's Standard mode holds a request back until the pod is there: the first ones fail, and are
    to be asked again.

    Attributes:
        query: A query whose result is one number.
        above: The model is wanted while the query says more than this.
    """

    query: Query
    above: float = Field(default=0.0, ge=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _check(self) -> Self:
        _refuse_counted_at_a_server(self.query)
        return self


class PrometheusScaling(_OwnScaling):
    """What the kinds have in common that KEDA scales by a query of Prometheus.

    Attributes:
        prometheus: The server's address as KEDA reaches it, `http://prometheus.monitoring:9090`.
        authentication: How KEDA makes itself known there; None where nothing is asked for.
        check_query: Whether the step tries the queries first. It cannot where Prometheus wants an authentication, which
            is KEDA's alone, and is not to where it may not reach the server.
        polling_seconds: How often KEDA asks whether the model is wanted at all.
        cooldown_seconds: How long it must not have been wanted before the last pod goes.
        wake: What starts the first pod again; needed with `min_replicas: 0`.
    """

    prometheus: Annotated[str, Field(pattern=r"^https?://")]
    authentication: Authentication | None = None
    check_query: bool = True
    polling_seconds: Seconds = 15
    cooldown_seconds: Seconds = 300
    wake: Wake | None = None


class LatencyScaling(PrometheusScaling):
    """Scale by how long the slowest requests take.

    Twice the target wants twice the pods, whatever their number is (KEDA's `metricType: Value`).

    Attributes:
        kind: `latency`.
        server: What serves the model.
        quantile: Which share of the requests is to be faster than the target.
        target_seconds: The time to the answer that is aimed at.
        window_seconds: Of the requests of the last so many seconds; several times the interval of scraping.
    """

    kind: Literal["latency"]
    server: Server = "stepworks"
    quantile: float = Field(default=0.95, gt=0, lt=1)
    target_seconds: Target
    window_seconds: Seconds = 120

    @model_validator(mode="after")
    def _check(self) -> Self:
        try:
            latency_query(self.server, self.quantile, self.window_seconds)
        except ConfigurationError as error:
            raise ValueError(f"{error.problem}; it is to be {error.expected}. {error.what_to_do}") from error
        return self


class QueueScaling(PrometheusScaling):
    """Scale by how many requests wait at the servers.

    Attributes:
        kind: `queue_depth`.
        server: What serves the model.
        target: How many may wait for each pod.
        window_seconds: Over how long the mean is taken, where the server tells waiting times only.
    """

    kind: Literal["queue_depth"]
    server: Server = "stepworks"
    target: Target
    window_seconds: Seconds = 120


class RequestScaling(PrometheusScaling):
    """Scale by how many requests per second the servers get.

    Attributes:
        kind: `requests_per_second`.
        server: What serves the model.
        target: How many each pod is to get per second.
        window_seconds: Over how long the mean is taken.
    """

    kind: Literal["requests_per_second"]
    server: Server = "stepworks"
    target: Target
    window_seconds: Seconds = 120


class QueryScaling(PrometheusScaling):
    """Scale by a query of one's own.

    In the query `$version` stands for the name of the version's InferenceService, and `$namespace` for its namespace.

    Attributes:
        kind: `query`.
        query: A query whose result is one number. While it has no result KEDA leaves the number of pods as it is.
        target: The value that is aimed at.
        per_pod: Whether the target is for each pod (a number of requests), or for the whole (a latency).
    """

    kind: Literal["query"]
    query: Query
    target: Target
    per_pod: bool = True


ByPrometheus = LatencyScaling | QueueScaling | RequestScaling | QueryScaling
"""What KEDA scales."""
Autoscaling = Annotated[UtilizationScaling | CustomMetricScaling | ByPrometheus, Field(discriminator="kind")]


def check_replicas(scaling: Autoscaling, min_replicas: int, max_replicas: int) -> None:
    """Check the numbers of pods between which it is scaled.

    Raises:
        ValueError: There is nothing to scale between them; or none is the lowest, and nothing would start the first.
    """
    if max_replicas == min_replicas:
        raise ValueError(f"min_replicas and max_replicas are both {min_replicas}: there is nothing to scale")
    if min_replicas:
        return
    match scaling:
        case UtilizationScaling() | CustomMetricScaling():
            raise ValueError(
                f"min_replicas: 0 cannot be with autoscaling by {scaling.kind}: a HorizontalPodAutoscaler keeps one "
                "pod. Take a kind that KEDA scales, with wake; or the mode Knative, which holds requests back meanwhile"
            )
        case QueryScaling(wake=None):
            _refuse_counted_at_a_server(scaling.query)
        case LatencyScaling(wake=None) | QueueScaling(wake=None) | RequestScaling(wake=None):
            raise ValueError(
                f"min_replicas: 0 needs autoscaling.wake: {scaling.kind} is counted at the model's servers, of which "
                "none is left. Give a query of what is still there: a gateway's requests, the length of a queue"
            )


def query_of(scaling: ByPrometheus, *, lives: bool) -> tuple[str, float, bool]:
    """What a kind asks Prometheus for.

    Args:
        scaling: The setting.
        lives: Whether there is a pod at any time.

    Returns:
        The query, with its placeholders; the value that is aimed at; and whether that is for each pod.
    """
    match scaling:
        case LatencyScaling():
            asked = latency_query(scaling.server, scaling.quantile, scaling.window_seconds, lives=lives)
            return asked, scaling.target_seconds, False
        case QueueScaling():
            return queue_query(scaling.server, scaling.window_seconds, lives=lives), scaling.target, True
        case RequestScaling():
            return requests_query(scaling.server, scaling.window_seconds, lives=lives), scaling.target, True
        case QueryScaling():
            return scaling.query, scaling.target, scaling.per_pod


def _refuse_counted_at_a_server(query: str) -> None:
    if name := counted_at_a_server(query):
        raise ValueError(
            f"the query asks for {name}, which the model's own pods count: with none of them there is nobody to count "
            "the requests that are to start one. Give a query of what is still there: a gateway's requests, the length "
            "of a queue"
        )
