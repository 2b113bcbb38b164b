"""Deploying one version of a model as an InferenceService that outlives the run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stepworks.errors import AlreadyExistsError, ConfigurationError, ObjectFailedError, WaitTimeoutError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import delete, find
from stepworks.kube.api.references import Reference, located, reference_to
from stepworks.kube.builders.inference_service import InferenceServiceSpec, build_inference_service
from stepworks.kube.diagnosis.diagnose import diagnose
from stepworks.kube.diagnosis.obstacle_check import ObstacleCheck
from stepworks.kube.kinds.manifests import Manifest, annotations_of, status_of
from stepworks.kube.kinds.rules import GONE, INFERENCE_SERVICE_READY
from stepworks.kube.model_scaling import scale
from stepworks.kube.runs.adoption import DELETION_SECONDS
from stepworks.kube.runs.belonging import SPEC_ANNOTATION, is_of_run, spec_hash
from stepworks.kube.runs.interrupts import cleaning_up_at_signals
from stepworks.kube.runs.lifetime import SCHEDULING_SECONDS, run_to_end
from stepworks.kube.runs.retry_marker import is_marked
from stepworks.kube.scaling_checks import check_scaling
from stepworks.kube.waiting.wait import wait

READY_SECONDS = 1800.0
"""How long a server may take to be ready: images of several gigabytes and models of many are pulled first."""


def deploy_inference_service(
    cluster: Cluster,
    spec: InferenceServiceSpec,
    *,
    name: str,
    run: str,
    timeout: float = READY_SECONDS,
    scheduling_timeout: float = SCHEDULING_SECONDS,
    say: Callable[[str], None] = print,
) -> Manifest:
    """Deploy a version of a model under a name of its own, and wait until it serves.

    A version is never changed: another version has another name, so that a bad one cannot take a good one down. One
    that an earlier run deployed from the same specification goes on serving, and is waited for. What this run made
    holds nothing when it does not become ready: it is deleted, or stopped and marked where another attempt of the run
    would fail the same way. Another run makes that one anew. Where it is to be scaled by more than KServe's own scaler,
    its scaler is made when it is ready.

    Args:
        cluster: Where.
        spec: What it serves and where.
        name: Its name, that of the model with its version.
        run: The run's id.
        timeout: How long it may take to be ready, in seconds, the wait for nodes included.
        scheduling_timeout: How long its pods may wait for room in the cluster, in seconds.
        say: Is told each line of progress.

    Returns:
        The InferenceService, which is ready.

    Raises:
        ConfigurationError: Something cannot work, and nothing was made: a name, the place of the model, the placement.
        NotFoundError: KServe is not installed; or what is to scale it, and nothing was made.
        ConflictError: Something else scales it.
        QueryError, ServingError: A query of its scaling is wrong, or Prometheus is silent; nothing was made.
        AlreadyExistsError: There is one of that name which was made from something else.
        AdmissionError: The cluster does not take it.
        AccessDeniedError: A permission is missing.
        WorkloadFailedError: It cannot become ready, or did not in time; it says why.
        ObjectDeletedError: Somebody deleted it.
        ClusterError: The API server fails or does not answer.
    """
    manifest = build_inference_service(spec, name=name)
    reference = located(cluster, reference_to(manifest))
    waits: dict[str, Any] = {"timeout": timeout, "scheduling_timeout": scheduling_timeout, "say": say}

    def scaled(service: Manifest) -> None:
        scale(cluster, service, spec, **waits)

    check_scaling(cluster, spec, name)
    present = _serving(cluster, reference, run, say)
    if present is None or is_of_run(present, run):
        made = run_to_end(cluster, manifest, run=run, until=INFERENCE_SERVICE_READY, on_failure="delete", **waits)
        _do_or_delete(cluster, made, scaled)
        return made
    _refuse_another(reference, present, manifest)
    say(f"The {reference} was deployed by an earlier run from the same specification.")
    served = wait_until_serving(cluster, reference, **waits)
    scaled(served)
    return served


def _do_or_delete(cluster: Cluster, made: Manifest, do: Callable[[Manifest], None]) -> None:
    """Do what is still to be done with what this run made; where that fails it holds nothing."""

    def take_away() -> None:
        delete(cluster, located(cluster, reference_to(made)), uid=str(made["metadata"]["uid"]))

    with cleaning_up_at_signals(take_away) as interruption:
        try:
            do(made)
        except BaseException:
            if not interruption.came:
                take_away()
            raise


def wait_until_serving(
    cluster: Cluster,
    reference: Reference,
    *,
    timeout: float = READY_SECONDS,
    scheduling_timeout: float = SCHEDULING_SECONDS,
    say: Callable[[str], None] = print,
) -> Manifest:
    """Wait until an InferenceService that is there serves; it is left as it is, whatever happens.

    Args:
        cluster: Where.
        reference: Which.
        timeout: How long it may take to be ready, in seconds.
        scheduling_timeout: How long its pods may wait for room in the cluster, in seconds.
        say: Is told each line of progress.

    Returns:
        The InferenceService, which is ready.

    Raises:
        WorkloadFailedError: It cannot become ready, or did not in time; it says why.
        ObjectDeletedError: Somebody deleted it.
        ClusterError: The API server fails or does not answer.
    """
    check = ObstacleCheck(cluster, reference, scheduling_timeout, say)
    try:
        return wait(cluster, reference, until=INFERENCE_SERVICE_READY, timeout=timeout, while_waiting=check)
    except (ObjectFailedError, WaitTimeoutError) as error:
        raise diagnose(cluster, reference, error).error() from error


def _serving(cluster: Cluster, reference: Reference, run: str, say: Callable[[str], None]) -> Manifest | None:
    """What is there of that name; one that another run made and that could not serve is deleted."""
    present = find(cluster, reference)
    if present is None or is_of_run(present, run):
        return present
    uid = str(present["metadata"]["uid"])
    if not present["metadata"].get("deletionTimestamp"):
        if not is_marked(present):
            return present
        say(f"The {reference} of an earlier run could not serve and was stopped; it is made anew.")
        delete(cluster, reference, uid=uid)
    wait(cluster, reference, until=GONE, timeout=DELETION_SECONDS, uid=uid)
    return None


def address_of(service: Manifest) -> str:
    """The address at which an InferenceService answers within the cluster.

    Raises:
        ConfigurationError: It has none.
    """
    status = status_of(service)
    address = (status.get("address") or {}).get("url") or status.get("url")
    if address:
        return str(address)
    raise ConfigurationError(
        f"The {reference_to(service)} has no address",
        received="neither status.address.url nor status.url",
        expected="an InferenceService that is ready",
        what_to_do="Look at its condition IngressReady, and at KServe's setting of the ingress.",
    )


def _refuse_another(reference: Reference, present: Manifest, manifest: Manifest) -> None:
    made_from = annotations_of(present).get(SPEC_ANNOTATION)
    if made_from != spec_hash(manifest):
        raise AlreadyExistsError(
            f"There is a {reference} already, made from something else",
            received=f"one with {SPEC_ANNOTATION} {made_from}" if made_from else "one that no step made",
            expected=f"none, or one with {SPEC_ANNOTATION} {spec_hash(manifest)}",
            what_to_do="Deploy another version; or, if nobody calls this one any more, delete it.",
        )
