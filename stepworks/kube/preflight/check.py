"""All checks of a pipeline against a cluster, in the order in which they are told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from stepworks.errors import ClusterError
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

    def split(self) -> tuple[Wanted, Wanted]:
        """What is wanted in every run, and what only where a condition of the pipeline holds."""
        sometimes = {maker.step for maker in self.needs.makers if maker.conditional}

        def part(*, conditional: bool) -> Wanted:
            return Wanted(
                self.needs,
                tuple(pod for pod in self.pods if pod.conditional == conditional),
                tuple((step, made) for step, made in self.objects if (step in sometimes) == conditional),
                {step: rights for step, rights in self.rights.items() if (step in sometimes) == conditional},
                {step: reason for step, reason in self.unclear.items() if (step in sometimes) == conditional},
            )

        return part(conditional=False), part(conditional=True)


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
        service_account: The ServiceAccount of the run; empty where it is not known.
        as_itself: Whether this process runs under that ServiceAccount.
        more_nodes_may_come: Whether an autoscaler adds nodes.

    Raises:
        ClusterError: The API server fails, does not answer, or does not take the credentials.
    """
    view = View(cluster)
    namespace = check_namespace(view)
    if namespace.state == State.MISSING:
        return Preflight(cluster.namespace, service_account, (namespace,))
    account = "" if as_itself else service_account
    always, sometimes = wanted.split()
    checks = [
        namespace,
        *_looked("service account", lambda: check_service_accounts(view, service_account, wanted.pods)),
    ]
    checks += _check(view, always, service_account, account, more_nodes_may_come=more_nodes_may_come)
    known = set(checks)
    conditional = _check(view, sometimes, service_account, account, more_nodes_may_come=more_nodes_may_come)
    checks += [_only_where(check) for check in conditional if check not in known]
    checks += [unknown("loop", loop, "only the run knows how often it runs at once") for loop in wanted.needs.loops]
    return Preflight(cluster.namespace, service_account, tuple(_together(checks)))


def _check(view: View, wanted: Wanted, service_account: str, account: str, *, more_nodes_may_come: bool) -> list[Check]:
    """All checks of what is wanted."""
    pods, objects = wanted.pods, wanted.objects
    # What they mount and read does not matter to the scheduler, and is told by itself.
    shapes = alike(pods, whatever=("claims", "secrets", "config_maps", "image_pull_secrets", "unnamed"))
    looks: list[tuple[str, Callable[[], Iterable[Check]]]] = [
        ("kind", lambda: check_kinds(view, objects)),
        ("nodes", lambda: _check_nodes(view, shapes, more_may_come=more_nodes_may_come)),
        ("quota", lambda: check_quotas(view, wanted.needs, pods, _counts(view.cluster, objects)) if pods else []),
        ("queue", lambda: check_queues(view, pods)),
        ("claim", lambda: [*_check_storage(view, objects), *check_claims(view, pods)]),
        ("configuration", lambda: check_configuration(view, pods)),
        ("priority", lambda: check_priority_classes(view, pods)),
        ("runtime", lambda: check_runtimes(view, objects)),
        ("permission", lambda: check_permissions(view, wanted.rights, account)),
        ("admission", lambda: [*check_pods(view, shapes, service_account), *check_objects(view, objects)]),
    ]
    checks = [check for topic, look in looks for check in _looked(topic, look)]
    return [*checks, *(unknown("object", step, reason) for step, reason in wanted.unclear.items())]


def _looked(topic: str, look: Callable[[], Iterable[Check]]) -> list[Check]:
    """What a look has found; where the cluster fails meanwhile, or says what nobody understands, that it was none."""
    try:
        return list(look())
    except ClusterError as error:
        return [unknown(topic, "all of it", f"{error.problem}: {error.received}", error.what_to_do)]
    except ValueError as error:
        return [unknown(topic, "all of it", f"something of the cluster or the pipeline is not understood: {error}")]


def _only_where(check: Check) -> Check:
    """What is missing for tasks that run only where a condition holds ends no run in which it does not."""
    if check.state != State.MISSING:
        return check
    return unknown(
        check.topic, check.subject, f"only where a condition of the pipeline holds: {check.told}", check.what_to_do
    )


def _check_nodes(view: View, shapes: Iterable[PodNeed], *, more_may_come: bool) -> Iterator[Check]:
    for pod in shapes:
        yield from check_nodes(view, pod, more_may_come=more_may_come)


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
