"""All checks of a pipeline against a cluster, in the order in which they are told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.discovery import discover, is_served
from stepworks.kube.kinds.manifests import Manifest, group_of
from stepworks.kube.preflight.admission import check_objects, check_pods
from stepworks.kube.preflight.claims import check_claims, check_storage_class
from stepworks.kube.preflight.configuration import (
    check_configuration,
    check_namespace,
    check_priority_classes,
    check_service_accounts,
)
from stepworks.kube.preflight.needs import Needs, PodNeed, alike
from stepworks.kube.preflight.nodes import check_nodes
from stepworks.kube.preflight.permissions import Right, check_permissions
from stepworks.kube.preflight.queues import check_queues
from stepworks.kube.preflight.quotas import check_quotas
from stepworks.kube.preflight.report import Check, Preflight, State, unknown
from stepworks.kube.preflight.served import check_kinds, check_runtimes
from stepworks.kube.preflight.view import View


@dataclass(frozen=True)
class Wanted:
    """What a pipeline needs, with what its steps make.

    Attributes:
        needs: What was read from its IR.
        pods: All pods: those of its tasks, and those that its tasks make.
        objects: The objects that its tasks make, each with the task.
        rights: The permissions that its tasks need, by the task.
        unclear: Tasks of which it is not known what they make, with the reason.
    """

    needs: Needs
    pods: tuple[PodNeed, ...]
    objects: tuple[tuple[str, Manifest], ...] = ()
    rights: Mapping[str, Sequence[Right]] = field(default_factory=dict)
    unclear: Mapping[str, str] = field(default_factory=dict)


def check_cluster(
    cluster: Cluster,
    wanted: Wanted,
    *,
    service_account: str,
    as_itself: bool = False,
    more_nodes_may_come: bool = False,
) -> Preflight:
    """See whether a cluster can run a pipeline. Nothing is changed.

    Args:
        cluster: The cluster, with the namespace of the run.
        wanted: What the pipeline needs.
        service_account: The ServiceAccount of the run.
        as_itself: Whether this process runs under that ServiceAccount.
        more_nodes_may_come: Whether an autoscaler adds nodes.

    Raises:
        ClusterError: The API server fails, does not answer, or does not take the credentials.
    """
    view = View(cluster)
    namespace = check_namespace(view)
    if namespace.state == State.MISSING:
        return Preflight(cluster.namespace, service_account, (namespace,))
    pods = wanted.pods
    # What they mount and read does not matter to the scheduler, and is told by itself.
    shapes = alike(pods, whatever=("claims", "secrets", "config_maps", "image_pull_secrets"))
    checks = [
        namespace,
        *check_service_accounts(view, service_account, pods),
        *check_kinds(view, wanted.objects),
        *(check for pod in shapes for check in check_nodes(view, pod, more_may_come=more_nodes_may_come)),
        *check_quotas(view, wanted.needs, pods, _counts(cluster, wanted.objects)),
        *check_queues(view, pods),
        *_check_storage(view, wanted.objects),
        *check_claims(view, pods),
        *check_configuration(view, pods),
        *check_priority_classes(view, pods),
        *check_runtimes(view, wanted.objects),
        *check_permissions(view, wanted.rights, "" if as_itself else service_account),
        *check_pods(view, shapes, service_account),
        *check_objects(view, wanted.objects),
        *(unknown("object", step, reason) for step, reason in wanted.unclear.items()),
        *(unknown("loop", loop, "only the run knows how often it runs at once") for loop in wanted.needs.loops),
    ]
    return Preflight(cluster.namespace, service_account, tuple(_together(checks)))


def _together(checks: Iterable[Check]) -> Iterator[Check]:
    """The checks, each once; what could not be checked for the same reason is told as one."""
    unseen: dict[Check, list[str]] = {}
    seen = dict.fromkeys(checks)
    for check in seen:
        if check.state == State.UNKNOWN:
            unseen.setdefault(replace(check, subject=""), []).append(check.subject)
    for check in seen:
        subjects = unseen.pop(replace(check, subject=""), []) if check.state == State.UNKNOWN else [check.subject]
        if subjects:
            yield replace(check, subject=", ".join(subjects))


def _counts(cluster: Cluster, objects: Iterable[tuple[str, Manifest]]) -> dict[str, int]:
    """How many objects are made, as a quota counts them: `count/jobs.batch`."""
    counted: Counter[str] = Counter()
    for _, manifest in objects:
        known = is_served(cluster, manifest["apiVersion"], manifest["kind"])
        if known:
            plural = discover(cluster, manifest["apiVersion"], manifest["kind"]).plural
            group = group_of(manifest["apiVersion"])
            counted[f"count/{plural}.{group}" if group else f"count/{plural}"] += 1
            if plural == "persistentvolumeclaims":
                counted[plural] += 1
    return dict(counted)


def _check_storage(view: View, objects: Iterable[tuple[str, Manifest]]) -> list[Check]:
    return [
        check_storage_class(view, manifest["spec"].get("storageClassName") or "", step)
        for step, manifest in objects
        if manifest["kind"] == "PersistentVolumeClaim"
    ]
