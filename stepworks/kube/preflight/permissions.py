"""Whether the ServiceAccount of a run may do what its steps do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from stepworks.errors import AccessDeniedError
from stepworks.kube.api.permissions import is_allowed
from stepworks.kube.preflight.report import Check, fine, missing, unknown
from stepworks.kube.preflight.view import View, denial

_AT_ONCE = 8
"""Questions at a time: each is short, and the way to a server may be long."""


@dataclass(frozen=True, order=True)
class Right:
    """A permission.

    Attributes:
        group: The API group; empty for the core's.
        resource: The resource, `pods/log`.
        verb: `create`.
        namespace: Where; empty for the namespace of the run.
        optional: Whether the step does its work without it, and only says less.
    """

    group: str
    resource: str
    verb: str
    namespace: str = ""
    optional: bool = False

    @property
    def of_what(self) -> str:
        """What it is a permission for: `deployments of apps`."""
        where = f" in {self.namespace}" if self.namespace else ""
        return self.resource + (f" of {self.group}" if self.group else "") + where


def check_permissions(view: View, rights: Mapping[str, Iterable[Right]], service_account: str) -> list[Check]:
    """See whether a ServiceAccount has the permissions that each step needs.

    Args:
        view: The cluster.
        rights: The permissions by the step.
        service_account: The ServiceAccount of the run; empty where this process runs under it.
    """
    wanted = sorted({right for each in rights.values() for right in each})
    try:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            answers = list(pool.map(lambda right: _may(view, right, service_account), wanted))
    except AccessDeniedError as error:
        what_to_do = "Let whoever checks create localsubjectaccessreviews, or run the check under that ServiceAccount."
        return [unknown("permission", step, denial(error), what_to_do) for step in rights]
    allowed = dict(zip(wanted, answers, strict=True))
    return [_check(step, sorted(set(each)), allowed, service_account) for step, each in rights.items()]


def _may(view: View, right: Right, service_account: str) -> bool:
    return is_allowed(
        view.cluster,
        right.verb,
        right.group,
        right.resource,
        service_account=service_account,
        namespace=right.namespace,
    )


def _check(step: str, rights: Sequence[Right], allowed: Mapping[Right, bool], service_account: str) -> Check:
    who = f"the ServiceAccount {service_account}" if service_account else "this step's ServiceAccount"
    denied = [right for right in rights if not allowed[right]]
    lacking = [right for right in denied if not right.optional]
    if not lacking:
        told = f"{who} has the {len(rights) - len(denied)} permissions that it takes"
        less = f"; the step says less where something breaks, without {_listed(denied)}" if denied else ""
        return fine("permission", step, told + less)
    told = f"{who} may not {_listed(lacking)}"
    return missing("permission", step, told, "Bind the Role of the step to it, as cluster/base does (docs/cluster.md).")


def _listed(rights: Iterable[Right]) -> str:
    verbs: dict[str, list[str]] = {}
    for right in rights:
        verbs.setdefault(right.of_what, []).append(right.verb)
    return "; ".join(f"{', '.join(each)} {what}" for what, each in verbs.items())
