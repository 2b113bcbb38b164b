"""Scaling a version of a model, once it is ready.

The scaler is owned by the InferenceService, so that it ends with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from stepworks.errors import (
    AccessDeniedError,
    ObjectFailedError,
    ServingError,
    WaitTimeoutError,
    WorkloadFailedError,
)
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.discovery import is_served
from stepworks.kube.api.objects import apply, find
from stepworks.kube.api.references import Reference, located, reference_to
from stepworks.kube.builders.autoscaling import ByPrometheus
from stepworks.kube.builders.inference_service import InferenceServiceSpec
from stepworks.kube.builders.scalers import LEAST_ANNOTATION, SCALED_OBJECT, deployment_of, queries
from stepworks.kube.diagnosis.diagnose import diagnose
from stepworks.kube.diagnosis.obstacle_check import ObstacleCheck
from stepworks.kube.kinds.judgement import Failed, Judgement, Pending, Succeeded
from stepworks.kube.kinds.manifests import Manifest, annotations_of, condition_line, conditions_of, status_of
from stepworks.kube.runs.belonging import KEEP_LABEL
from stepworks.kube.runs.lifetime import SCHEDULING_SECONDS
from stepworks.kube.scaling_checks import may_ask, scaler_of, value_of
from stepworks.kube.waiting.wait import wait

ACCEPTED_SECONDS = 60.0
"""How long KEDA may take to see a ScaledObject."""
SCRAPED_SECONDS = 60.0
"""How long Prometheus may take to know a version's pods, before the step says that it does not."""
_ASKED_EACH_SECONDS = 5.0


@dataclass(frozen=True)
class AvailablePods:
    """A Deployment has so many pods that serve, or more.

    Attributes:
        least: How many.
    """

    least: int
    absence_succeeds: ClassVar[bool] = False

    @property
    def goal(self) -> str:
        """What is waited for."""
        return f"serving with {self.least} pods"

    def judge(self, manifest: Manifest) -> Judgement:
        """Judge by the replicas that are available."""
        wanted, available = manifest["spec"].get("replicas", 1), status_of(manifest).get("availableReplicas", 0)
        told = f"of {wanted} replicas {available} available, and {self.least} are the least"
        return Succeeded(told) if min(wanted, available) >= self.least else Pending(told)


@dataclass(frozen=True)
class ScaledObjectAccepted:
    """KEDA has made its HorizontalPodAutoscaler of a ScaledObject.

    Its condition Ready goes and comes with the answers of Prometheus, which may not know the pods yet.
    """

    goal: ClassVar[str] = "accepted by KEDA"
    absence_succeeds: ClassVar[bool] = False

    def judge(self, manifest: Manifest) -> Judgement:
        """Judge by the autoscaler's name and the condition Ready."""
        if name := status_of(manifest).get("hpaName"):
            return Succeeded(str(name))
        ready = conditions_of(manifest).get("Ready", {})
        if ready.get("status") == "False":
            return Failed(condition_line(ready))
        return Pending("KEDA has not seen it yet: look whether its operator runs")


def scale(
    cluster: Cluster,
    service: Manifest,
    spec: InferenceServiceSpec,
    *,
    timeout: float,
    scheduling_timeout: float = SCHEDULING_SECONDS,
    say: Callable[[str], None] = print,
) -> None:
    """Have a version scaled, and wait until it has its least number of pods; without autoscaling do nothing.

    Args:
        cluster: Where.
        service: The InferenceService, which is ready.
        spec: What it was made from.
        timeout: How long the pods may take, in seconds.
        scheduling_timeout: How long they may wait for room in the cluster, in seconds.
        say: Is told each line of progress.

    Raises:
        ConflictError: Somebody else has changed the scaler.
        WorkloadFailedError: KEDA refuses the scaler, or does not see it; or the pods do not come, and it says why.
        AccessDeniedError: A permission is missing.
        ClusterError: The API server fails or does not answer.
    """
    scaling = spec.autoscaling
    if scaling is None:
        return
    name = str(service["metadata"]["name"])
    if scaler := scaler_of(cluster, spec, name):
        scaler["metadata"]["ownerReferences"] = [_owner(service)]
        reference = reference_to(apply(cluster, scaler))
        least = max(spec.min_replicas, 1)
        say(f"The {reference} keeps {least} to {spec.max_replicas} pods, by {scaling.kind}.")
        if reference.kind == SCALED_OBJECT[1]:
            _require_accepted(cluster, reference)
    if spec.min_replicas > 1:
        deployment = located(cluster, Reference("apps/v1", "Deployment", deployment_of(name)))
        check = ObstacleCheck(cluster, deployment, scheduling_timeout, say)
        try:
            wait(cluster, deployment, until=AvailablePods(spec.min_replicas), timeout=timeout, while_waiting=check)
        except (ObjectFailedError, WaitTimeoutError) as error:
            raise diagnose(cluster, deployment, error).error() from error
    if scaler and isinstance(scaling, ByPrometheus) and may_ask(scaling):
        _tell_of_what_is_not_scraped(cluster, scaling, queries(scaler)[scaling.kind], name, say)


def let_rest(cluster: Cluster, name: str, say: Callable[[str], None] = print) -> None:
    """Let a version that serves go down to its least number of pods, which for a candidate is one at least.

    Args:
        cluster: Where.
        name: The name of the version's InferenceService. One without a ScaledObject of ours is left as it is.
        say: Is told what changes.

    Raises:
        ConflictError: Somebody else has changed the ScaledObject.
        ClusterError: The API server refuses, fails or does not answer.
    """
    reference = Reference(*SCALED_OBJECT, name)
    if not is_served(cluster, *SCALED_OBJECT):
        return
    try:
        present = find(cluster, reference)
    except AccessDeniedError:  # whoever may not read one has not made one
        return
    if present is None or LEAST_ANNOTATION not in annotations_of(present):
        return
    least = int(annotations_of(present)[LEAST_ANNOTATION])
    if present["spec"]["minReplicaCount"] == least:
        return
    metadata = present["metadata"]
    ours = {each: metadata[each] for each in ("name", "namespace", "ownerReferences") if each in metadata}
    ours |= {"labels": {KEEP_LABEL: "true"}, "annotations": {LEAST_ANNOTATION: str(least)}}
    spec = {**present["spec"], "minReplicaCount": least}
    apply(cluster, {"apiVersion": SCALED_OBJECT[0], "kind": SCALED_OBJECT[1], "metadata": ours, "spec": spec})
    say(f"The {reference} keeps {least} to {spec['maxReplicaCount']} pods from now on.")


def _owner(service: Manifest) -> Manifest:
    metadata = service["metadata"]
    return {
        "apiVersion": service["apiVersion"],
        "kind": service["kind"],
        "name": metadata["name"],
        "uid": metadata["uid"],
    }


def _require_accepted(cluster: Cluster, reference: Reference) -> None:
    try:
        wait(cluster, reference, until=ScaledObjectAccepted(), timeout=ACCEPTED_SECONDS)
    except (ObjectFailedError, WaitTimeoutError) as error:
        raise WorkloadFailedError(
            f"KEDA does not scale by the {reference}",
            cause="scaler-refused",
            permanent=False,
            kind=reference.kind,
            name=reference.name,
            received=error.received,
            what_to_do=f"Look at what it says of it: {reference.kubectl('describe')}",
        ) from error


def _tell_of_what_is_not_scraped(
    cluster: Cluster, scaling: ByPrometheus, query: str, name: str, say: Callable[[str], None]
) -> None:
    """Say that Prometheus knows nothing of the version's pods, which changes by itself when it is only slow."""
    deadline = cluster.clock.now() + SCRAPED_SECONDS
    try:
        while value_of(scaling.prometheus, scaling.kind, query, must_answer=False) is None:
            if cluster.clock.now() >= deadline:
                say(
                    f"Prometheus knows nothing of {name} after {SCRAPED_SECONDS:g} seconds, and until it does KEDA "
                    f"leaves the number of its pods as it is. See that it scrapes them: {query}"
                )
                return
            cluster.clock.sleep(_ASKED_EACH_SECONDS)
    except ServingError as trouble:  # what serves is not to end for it
        say(str(trouble))
