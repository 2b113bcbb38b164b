"""What the API server refused, as an error that says what to do about it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stepworks.errors import (
    AccessDeniedError,
    AdmissionError,
    AlreadyExistsError,
    ClusterError,
    ConflictError,
    NotFoundError,
    StepworksError,
)
from stepworks.kube.api.commands import kubectl

_CANNOT = re.compile(r'User "(?P<user>[^"]*)" cannot (?P<verb>\S+) (?P<what>resource|path) "(?P<resource>[^"]*)"')
_SERVICE_ACCOUNT = re.compile(r"system:serviceaccount:(?P<namespace>[^:]+):(?P<name>[^:]+)")
_NO_SERVICE_ACCOUNT = re.compile(r"error looking up service account (?P<namespace>[^/]+)/(?P<name>[^:]+): ")
_LONGEST_MESSAGE = 300

Answer = dict[str, Any]
"""A Status of the API server."""


@dataclass(frozen=True)
class Operation:
    """What is asked of the API server, in the words of errors and of roles.

    Attributes:
        verb: What is done, `apply`.
        kind: What it is done to, `Job`.
        name: To which one; empty for all of them.
        namespace: Where; empty for what has no namespace.
        group: The API group, empty for the core's.
        resource: The resource in that group with its subresource, `jobs` or `pods/log`.
        rights: Every verb that a Role has to grant for it.
    """

    verb: str
    kind: str
    name: str = ""
    namespace: str = ""
    group: str = ""
    resource: str = ""
    rights: tuple[str, ...] = ()

    def __str__(self) -> str:
        what = f"the {self.kind} {self.name}" if self.name else f"objects of the kind {self.kind}"
        return f"{self.verb} {what}" + (f" in the namespace {self.namespace}" if self.namespace else "")


def explain(error: Exception, operation: Operation) -> StepworksError:
    """Say what a request failed of.

    Args:
        error: What the official client raised: an `ApiException`, or an `HTTPError` of urllib3.
        operation: What was asked for.
    """
    status = getattr(error, "status", None)
    if not status:
        return _no_answer(error, operation)
    answer = read_status(error)
    told = f"{status} {answer.get('reason') or getattr(error, 'reason', '')}: {answer['message']}"
    if is_schema_fault(answer):
        status = 400
    explained = _EXPLAINED.get(status, _server_failed)
    return explained(told, answer, operation)


def read_status(error: Any) -> Answer:
    """The Status that the API server answered with; its message is the beginning of whatever else it answered."""
    body = error.body or ""
    try:
        answer = json.loads(body)
        return {**answer, "message": str(answer["message"])}
    except (ValueError, TypeError, KeyError):
        text = body.decode(errors="replace") if isinstance(body, bytes) else str(body)
        return {"message": " ".join(text[:500].split()) or "nothing more"}


def is_schema_fault(answer: Answer) -> bool:
    """Whether the API server answered 500 to what is a fault of the object, as it does to server-side apply."""
    return "failed to create typed patch object" in answer["message"]


def _causes(answer: Answer) -> list[str]:
    causes = (answer.get("details") or {}).get("causes") or []
    return [f"{cause['field']}: {_short(cause['message'])}" for cause in causes if cause.get("field")]


def _short(message: str) -> str:
    """A message without the middle of the object that it may hold; what is wrong stands at its end."""
    return message if len(message) <= _LONGEST_MESSAGE else f"{message[:120]} … {message[-160:]}"


def _no_answer(error: Exception, operation: Operation) -> ClusterError:
    # Status 0 is the official client's way to say that TLS failed.
    told = " ".join(f"{type(error).__name__}: {error}".split())
    if "CERTIFICATE" in told.upper():
        return ClusterError(
            f"The API server's certificate was not accepted when asked to {operation}",
            received=told,
            expected="a certificate in force, of the authority that the kubeconfig names",
            what_to_do="Take the kubeconfig anew from the cluster; see that this machine's clock is right.",
        )
    return ClusterError(
        f"The Kubernetes API server did not answer when asked to {operation}",
        received=told,
        expected="an answer",
        what_to_do="See whether `kubectl version` reaches the server; in a pod, look at the network policies.",
    )


def _server_failed(told: str, _answer: Answer, operation: Operation) -> ClusterError:
    return ClusterError(
        f"Kubernetes failed to {operation}",
        received=told,
        expected="an answer without an error",
        what_to_do="Read what the API server answered; if a webhook is named there, see whether its pods run.",
    )


def _too_many(told: str, _answer: Answer, operation: Operation) -> ClusterError:
    evicts = operation.resource.endswith("eviction")
    return ClusterError(
        f"Kubernetes kept refusing to {operation} for the moment",
        received=told,
        expected="leave to go on within the time that is given to it",
        what_to_do="Look at the PodDisruptionBudgets of the namespace."
        if evicts
        else "Try again when the API server has less to do.",
    )


def _invalid(told: str, answer: Answer, operation: Operation) -> ClusterError:
    if "get" in operation.rights:
        return ClusterError(
            f"Kubernetes cannot {operation}",
            received=told,
            expected="a request that makes sense in the present state of the object",
            what_to_do="Correct what the message names, or wait until the object has come so far.",
        )
    received = "; ".join(_causes(answer)) or told
    return AdmissionError(
        f"Kubernetes refused to {operation}: the object is not valid",
        received=received,
        expected=f"a {operation.kind} as the cluster's schema and its admission webhooks want it",
        what_to_do="Give the changed object another name, or delete the present one first."
        if "immutable" in received
        else "Correct the fields that are named; `kubectl explain` tells what each of them takes.",
    )


def _not_known(told: str, _answer: Answer, operation: Operation) -> ClusterError:
    return ClusterError(
        f"Kubernetes did not accept the credentials when asked to {operation}",
        received=told,
        expected="a token or a client certificate in force",
        what_to_do="Log in to the cluster again, or take its kubeconfig anew.",
    )


def _forbidden(told: str, answer: Answer, operation: Operation) -> ClusterError:
    denied = _CANNOT.search(told)
    if missing := _NO_SERVICE_ACCOUNT.search(told):
        namespace, name = missing["namespace"], missing["name"]
        return AdmissionError(
            f"Kubernetes refused to {operation}: there is no ServiceAccount {name} in the namespace {namespace}",
            received=told,
            expected="a ServiceAccount that is there, with the rights of what runs under it",
            what_to_do="Name another one. Or make it, and give it the Roles that it needs, as "
            f"cluster/base/roles.yaml does: kubectl -n {namespace} create serviceaccount {name}",
        )
    if denied is None:
        return AdmissionError(
            f"Kubernetes refused to {operation}: a rule of the cluster forbids it",
            received=told,
            expected="an object that the quotas and the policies of the namespace allow",
            what_to_do=(
                "Ask for less, wait until something ends, or have the quota raised."
                if "exceeded quota" in told
                else "Change what the message names, or talk to whoever looks after the cluster."
            ),
        )
    user = denied["user"]
    if user == "system:anonymous":
        return _not_known(told, answer, operation)
    account = _SERVICE_ACCOUNT.fullmatch(user)
    who = f"the ServiceAccount {account['name']} of the namespace {account['namespace']}" if account else user
    scope = "Role" if operation.namespace else "ClusterRole"
    if denied["what"] == "path":
        scope, rule = "ClusterRole", f'- nonResourceURLs: ["{denied["resource"]}"]\n  verbs: ["get"]'
    else:
        rule = _rule(operation, denied["verb"])
    # One refusal names one rule, and a step needs several.
    elsewhere = "; cluster/base/roles.yaml has all that each step needs" if scope == "Role" else ""
    # The rule stands at the margin of its own block, to be copied as it is.
    indented = "\n".join(f"    {line}" for line in rule.splitlines())
    return AccessDeniedError(
        f"Kubernetes refused to {operation}: the permission is missing",
        received=told,
        expected=f"{who} may {', '.join(operation.rights) or denied['verb']} {operation.resource}",
        what_to_do=f"Add this rule to a {scope} that is bound to {who}{elsewhere}:\n{indented}",
    )


def _rule(operation: Operation, denied: str) -> str:
    verbs = ", ".join(f'"{verb}"' for verb in dict.fromkeys((*operation.rights, denied)))
    return f'- apiGroups: ["{operation.group}"]\n  resources: ["{operation.resource}"]\n  verbs: [{verbs}]'


def _not_found(told: str, answer: Answer, operation: Operation) -> NotFoundError:
    if (answer.get("details") or {}).get("kind") == "namespaces" and operation.kind != "Namespace":
        return NotFoundError(
            f"There is no namespace {operation.namespace}",
            received=told,
            expected=f"the namespace {operation.namespace} in this cluster",
            what_to_do="Correct the namespace's name or the context, or create it: "
            f"{kubectl('create', 'namespace', operation.namespace)}",
        )
    return NotFoundError(
        f"There is no {operation.kind} {operation.name}"
        + (f" in the namespace {operation.namespace}" if operation.namespace else ""),
        received=told,
        what_to_do="Correct its name or its namespace, or create it first.",
    )


def _conflict(told: str, answer: Answer, operation: Operation) -> ConflictError:
    if answer.get("reason") == "AlreadyExists":
        words = ("get", operation.kind.lower(), operation.name, "-o", "yaml", "--show-managed-fields")
        command = kubectl(*words, namespace=operation.namespace)
        return AlreadyExistsError(
            f"The {operation.kind} {operation.name} is there already",
            received=told,
            expected=f"no {operation.kind} of that name",
            what_to_do=f"See whose it is with: {command}",
        )
    causes = (answer.get("details") or {}).get("causes") or []
    held = [cause for cause in causes if cause.get("reason") == "FieldManagerConflict"]
    if held:
        return ConflictError(
            f"Kubernetes refused to {operation}: others hold fields of it",
            received="; ".join(f"{cause.get('field')}: {cause.get('message')}" for cause in held),
            expected="fields that nobody else sets, or that are set to the same value",
            what_to_do="Leave those fields out of what is applied, have the other manager let go of them, or give the "
            "object another name.",
        )
    return ConflictError(
        f"Kubernetes refused to {operation}: the object is not what it was",
        received=told,
        expected="the object as it was read",
        what_to_do="Read the object again, and decide anew.",
    )


_EXPLAINED: dict[int, Callable[[str, Answer, Operation], StepworksError]] = {
    400: _invalid,
    401: _not_known,
    403: _forbidden,
    404: _not_found,
    409: _conflict,
    413: _invalid,
    422: _invalid,
    429: _too_many,
}
